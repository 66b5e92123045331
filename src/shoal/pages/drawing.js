"use strict";
// What the scripts of all pages share: elements of SVG, numbers in few characters, where an axis has its marks.
const drawing = (() => {
  const NS = "http://www.w3.org/2000/svg";

  const made = (name, attributes, text) => {
    const element = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };

  const number = (value) => {
    const size = Math.abs(value);
    if (Number.isInteger(value) && size < 1e6) return value.toLocaleString("en");
    return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
  };

  const linear = (low, high, most) => {
    const span = high - low;
    if (!(span > 0) || !Number.isFinite(span)) return [low];
    const power = 10 ** Math.floor(Math.log10(span / most));
    for (const factor of [1, 2, 2.5, 5, 10, 20, 50]) {
      const step = factor * power, first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
      if (last - first < most)
        return Array.from({length: last - first + 1}, (_, index) => Number(((first + index) * step).toPrecision(12)));
    }
    return [low, high];
  };

  const logarithmic = (low, high, most) => {
    const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high)), powers = [], fine = [];
    for (let power = first; power <= last; power++)
      for (const digit of [1, 2, 5]) {
        const value = Number(`${digit}e${power}`);
        if (value < low * 0.999 || value > high * 1.001) continue;
        fine.push(value);
        if (digit === 1) powers.push(value);
      }
    if (powers.length >= 2) return powers.filter((_, index) => index % Math.ceil(powers.length / most) === 0);
    return fine.length >= 2 ? fine : linear(low, high, most);
  };

  return {made, number, linear, logarithmic};
})();
