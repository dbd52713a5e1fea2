// Answers of the aggregate as series to draw: `{label, points}`, points of [milliseconds, number].

const natural = new Intl.Collator("en", { numeric: true });

/**
 * The series of an answer that has windows. `names(metric)` is what a metric is called; a series is labelled with
 * its tags, and with its metric where there are several. They are in the order of their tags, cpu2 before cpu10.
 */
export function seriesOf(answer, names, of = (value) => value) {
  const found = [];
  const named = answer.series.map((series) => {
    const tags = Object.values(series.tags).map((tag) => tag || "(none)");
    return { series, tags, name: tags.join(" ") };
  });
  named.sort((one, other) => natural.compare(one.name, other.name));
  for (const { series, tags } of named) {
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
