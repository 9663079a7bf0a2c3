// The two ways this page touches its document.
//
// Owns: finding an element by id, writing text into one.
// Never: parses markup. Whatever came over the wire reaches the document as text, here or through textContent elsewhere.

export const $ = (id) => document.getElementById(id);

/** Writes text only when it changed: an untouched node costs no layout. */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
