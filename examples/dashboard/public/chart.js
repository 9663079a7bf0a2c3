// A live area chart on a canvas.
//
// Owns: drawing of one or several curves over their last values, sharp on every screen, in the colours of the style sheet,
// and the reading under the pointer. All charts draw together, once per animation frame and only when something changed.
// Never: knows what its values mean, keeps more values than it shows, starts a timer.

import { Marks } from './marks.js';

const charts = new Set();
let scheduled = false;
const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) for (const chart of charts) if (chart.canvas === target) chart.touch();
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  for (const chart of charts) chart.restyle();
});

export class Chart {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{ colors: string[], max?: number, floor?: number, format?: (v: number) => string, grid?: boolean, points?: number, unit?: number }} options
   *   colors: names of custom properties; max: fixed top of the scale, otherwise it follows the curves, never below floor
   *   points: values from the left edge to the right one; unit: what the top is a round number of
   */
  constructor(canvas, options) {
    this.canvas = canvas;
    this.options = { floor: 1, format: String, grid: true, points: 600, unit: 1, ...options };
    this.curves = options.colors.map(() => []);
    this.scale = options.max ?? this.options.floor;
    this.marks = new Marks();
    this.pointer = null;
    this.dirty = false;
    this.colors = null;
    this.drawn = 0;
    charts.add(this);
    canvas.chart = this; // for whoever looks at the page from outside: its values are not in the document
    resized.observe(canvas);
    if (this.options.grid) this.#followPointer();
  }

  /** One new value per curve. Late: it belongs to a time that has passed, and is marked. */
  push(values, late = false) {
    values.forEach((value, i) => {
      const curve = this.curves[i];
      curve.push(value);
      if (curve.length > this.options.points) curve.shift();
    });
    this.marks.added(late, this.curves[0].length);
    this.touch();
  }

  /** Everything anew, oldest value first. */
  replace(...curves) {
    this.curves = this.curves.map((_, i) => (curves[i] ?? []).slice(-this.options.points));
    this.scale = this.#top();
    this.marks.clear();
    this.touch();
  }

  touch() {
    this.dirty = true;
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(drawAll);
  }

  restyle() {
    this.colors = null;
    this.touch();
  }

  draw() {
    const { canvas } = this;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (width === 0 || height === 0) return;
    const ratio = Math.min(3, window.devicePixelRatio || 1);
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const context = canvas.getContext('2d');
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    this.colors ??= this.#readColors();
    const top = this.#top();
    // The scale glides to its new top instead of jumping there.
    this.scale = Math.abs(top - this.scale) < top / 200 ? top : this.scale + (top - this.scale) * 0.25;
    const area = { width, height, head: this.options.grid ? 18 : 2 };
    if (this.options.grid) this.#grid(context, area);
    this.#late(context, area);
    this.curves.forEach((curve, i) => this.#curve(context, area, curve, this.colors.curves[i]));
    if (this.pointer !== null) this.#reading(context, area);
    canvas.dataset.samples = String(++this.drawn);
  }

  #top() {
    if (this.options.max !== undefined) return this.options.max;
    let top = this.options.floor;
    for (const curve of this.curves) for (const value of curve) if (value > top) top = value;
    return roundUp(top / this.options.unit) * this.options.unit;
  }

  #x = (area, curve, i) => area.width - 1 - ((curve.length - 1 - i) * (area.width - 1)) / (this.options.points - 1);
  #y = (area, value) => area.height - 1 - (Math.min(value, this.scale) / this.scale) * (area.height - 1 - area.head);

  #grid(context, area) {
    context.lineWidth = 1;
    context.strokeStyle = this.colors.grid;
    context.beginPath();
    for (const share of [0, 0.5, 1]) {
      const y = Math.round(this.#y(area, this.scale * share)) + 0.5;
      context.moveTo(0, Math.min(y, area.height - 0.5));
      context.lineTo(area.width, Math.min(y, area.height - 0.5));
    }
    context.stroke();
    context.fillStyle = this.colors.label;
    context.font = this.colors.font;
    context.textBaseline = 'alphabetic';
    context.textAlign = 'left';
    context.fillText(this.options.format(this.#top()), 0, area.head - 6);
  }

  /** A shade behind what came late. */
  #late(context, area) {
    const [curve] = this.curves;
    context.fillStyle = this.colors.late;
    for (const [first, last] of this.marks.runs(curve.length)) {
      const left = this.#x(area, curve, first - 0.5);
      context.fillRect(left, area.head, this.#x(area, curve, last + 0.5) - left, area.height - area.head);
    }
  }

  #curve(context, area, curve, color) {
    if (curve.length < 2) return;
    context.beginPath();
    curve.forEach((value, i) => context.lineTo(this.#x(area, curve, i), this.#y(area, value)));
    context.strokeStyle = color;
    context.lineWidth = 1.5;
    context.lineJoin = 'round';
    context.stroke();
    context.lineTo(area.width - 1, area.height);
    context.lineTo(this.#x(area, curve, 0), area.height);
    const fill = context.createLinearGradient(0, area.head, 0, area.height);
    fill.addColorStop(0, `${color}4d`);
    fill.addColorStop(1, `${color}05`);
    context.fillStyle = fill;
    context.fill();
  }

  #reading(context, area) {
    const back = Math.round(((area.width - 1 - this.pointer) * (this.options.points - 1)) / (area.width - 1));
    const values = this.curves.map((curve) => curve[curve.length - 1 - back]);
    if (values.some((value) => value === undefined)) return;
    context.strokeStyle = this.colors.label;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(Math.round(this.pointer) + 0.5, area.head);
    context.lineTo(Math.round(this.pointer) + 0.5, area.height);
    context.stroke();
    values.forEach((value, i) => {
      context.beginPath();
      context.arc(this.pointer, this.#y(area, value), 3, 0, 7);
      context.fillStyle = this.colors.curves[i];
      context.fill();
    });
    const text = `${values.map(this.options.format).join(' · ')}   ${(back / 10).toFixed(0)} s ago`;
    context.font = this.colors.font;
    context.fillStyle = this.colors.text;
    context.textAlign = 'right';
    context.fillText(text, area.width, area.head - 6);
  }

  #readColors() {
    const style = getComputedStyle(this.canvas);
    const read = (name) => style.getPropertyValue(name).trim();
    return {
      curves: this.options.colors.map(read), // six hex digits each: the fill adds its alpha to them
      grid: read('--chart-grid'),
      late: read('--chart-late'),
      label: read('--text-3'),
      text: read('--text-1'),
      font: `500 11px ${style.fontFamily}`,
    };
  }

  #followPointer() {
    const move = (event) => {
      this.pointer = Math.min(Math.max(event.offsetX, 0), this.canvas.clientWidth - 1);
      this.touch();
    };
    this.canvas.addEventListener('pointermove', move);
    this.canvas.addEventListener('pointerdown', move);
    this.canvas.addEventListener('pointerleave', () => {
      this.pointer = null;
      this.touch();
    });
  }
}

function drawAll() {
  scheduled = false;
  for (const chart of charts) {
    if (!chart.dirty) continue;
    chart.dirty = false;
    chart.draw();
  }
}

/** The next of 1, 2, 5, 10, 20, 50 … */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10);
}
