// Answers of the aggregate as series to draw: `{label, points}`, points of [milliseconds, number].

/**
 * The series of an answer that has windows. `names(metric)` is what a metric is called; a series is labelled with
 * its tags, and with its metric where there are several.
 */
export function seriesOf(answer, names, of = (value) => value) {
  const found = [];
  for (const series of answer.series) {
    const tags = Object.values(series.tags).map((tag) => tag || "(none)");
    answer.metric.forEach((metric, n) => {
      const isNamed = answer.metric.length > 1 || tags.length === 0;
      const label = [...tags, isNamed && names(metric)].filter(Boolean).join(" ");
      const points = series.points
        .filter((point) => point[n + 1] !== null)
        .map((point) => [Date.parse(point[0]), of(point[n + 1])]);
      found.push({ label, points });
    });
  }
  return found;
}

/** How fast counters grew, a second: from one window's highest to the next one's. A fall is a restart at zero. */
export function perSecond(series) {
  const rates = [];
  for (let n = 1; n < series.points.length; n += 1) {
    const [[before, from], [time, to]] = [series.points[n - 1], series.points[n]];
    rates.push([time, (to >= from ? to - from : to) / ((time - before) / 1000)]);
  }
  return { ...series, points: rates };
}
