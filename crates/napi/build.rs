//! Lets the linker leave the N-API symbols to the Node process that loads the addon.
fn main() {
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // All of `setup` that Linux needs, but its NAPI_FORCE_BUILD_*: `napi build` sets that the first time and never
        // again, so the second build would compile this crate once more for nothing.
        println!("cargo::rerun-if-env-changed=NAPI_TYPE_DEF_TMP_FOLDER");
    } else {
        napi_build::setup();
    }
}
