//! Lets the linker leave the N-API symbols to the Node process that loads the addon.
fn main() {
    napi_build::setup();
}
