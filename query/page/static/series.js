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
