'use strict';

/*
 * Statistics of measurements, and their tables.
 */

/** NaN for an empty list, which meets no bound. */

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;

  return sorted.length % 2 === 1
    ? sorted[half]
    : (sorted[half - 1] + sorted[half]) / 2;
}

function quantile(values, part) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = Math.ceil(sorted.length * part) - 1;
  return sorted[Math.min(sorted.length - 1, Math.max(0, at))];
}

/**
 * A table as text, of lines of cells; the first line is the head. The first
 * column holds text, and the last one if it `endsInText`; numbers are between.
 */

function table(lines, {endsInText = false} = {}) {
  const widths = lines[0].map((_, i) => {
    return Math.max(...lines.map(line => line[i].length));
  });

  return lines.map((line) => {
    return line.map((cell, i) => {
      const isText = i === 0 || endsInText && i === widths.length - 1;
      return isText ? cell.padEnd(widths[i]) : cell.padStart(widths[i]);
    }).join('  ').trimEnd();
  }).join('\n');
}

module.exports = {median, quantile, table};
