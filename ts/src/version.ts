/** The version of this package; the addon must have the same. A test compares it with the manifests. */
export const VERSION = '0.1.0';

/**
 * Changes with every change of `native/binding.ts`, here and in `crates/napi/src/lib.rs`: an addon built from other sources
 * is refused when it is loaded, not when it is first called.
 */
export const BORDER = 4;
