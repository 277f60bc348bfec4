// @ts-check
// Numbers as people read them. Pure.

const UNITS = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** @param {number} value bytes, of either sign @returns {string} `18.9 MiB` */
export function bytes(value) {
  const size = Math.abs(value);
  const sign = value < 0 ? "-" : "";
  if (size < 1024) return `${sign}${Math.round(size)} B`;
  let scaled = size / 1024;
  let unit = 0;
  while (scaled >= 1023.95 && unit + 1 < UNITS.length) {
    scaled /= 1024;
    unit += 1;
  }
  return `${sign}${scaled.toFixed(1)} ${UNITS[unit]}`;
}

/** @param {number} value @returns {string} `+1.2 MiB`, `-3 B`, `0 B` */
export function more(value) {
  return value > 0 ? `+${bytes(value)}` : bytes(value);
}

/** @param {number} value @returns {string} `1,234,567` */
export function count(value) {
  return Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, ",");
}

/** @param {number} value @param {string} what @returns {string} `1 frame`, `2 frames` */
export function counted(value, what) {
  return `${count(value)} ${what}${value === 1 ? "" : "s"}`;
}

/** @param {number} perSecond bytes; NaN: not known @returns {string} */
export function rate(perSecond) {
  return Number.isNaN(perSecond) ? "not known" : `${more(perSecond)}/s`;
}

/** @param {number} nanoseconds @returns {string} `10.0 s`, `3 min 20 s`, `2 h 5 min` */
export function duration(nanoseconds) {
  const seconds = Math.floor(nanoseconds / 1e9);
  if (seconds < 120) return `${(nanoseconds / 1e9).toFixed(1)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/** @param {number} part @param {number} whole @returns {string} `12.3 %`; never 100 % unless it is all */
export function share(part, whole) {
  if (whole <= 0) return "0 %";
  if (part >= whole) return "100 %";
  return `${(Math.floor((part / whole) * 1000) / 10).toFixed(1)} %`;
}

/** @param {string} path @returns {string} what is after the last slash */
export function base(path) {
  return path.slice(path.lastIndexOf("/") + 1);
}
