// Generated from crates/napi by `npm run build`. Not for editing.
/** The hash of `index.d.ts`; an addon built with another border is refused when it is loaded. */
export const ABI_VERSION = '7809219653ff1f76';
