//! `inline` where there are no descriptors to watch: it says so, and never has an engine.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::Function;
use wse_engine::{Bound, Consumer, Engine, Taken};

use crate::error::{ErrorCode, Failure, Outcome};
use crate::wake::Wake;

/// There is none.
pub(crate) struct Host(Infallible);

pub(crate) fn is_possible() -> bool {
    false
}

pub(crate) fn find(_: u32) -> Option<Rc<Host>> {
    None
}

pub(crate) fn start(_: &Env, _: u32, _: &Arc<Engine>, _: Bound) -> Outcome<Option<SocketAddr>> {
    Err(Failure::new(ErrorCode::Engine("WSE_START_FAILED"), "this system has no inline engines"))
}

impl Host {
    pub(crate) fn wake(self: &Rc<Self>, _: &Function<'_, (), ()>, _: Option<&Arc<Consumer>>) -> napi::Result<Wake> {
        match self.0 {}
    }

    pub(crate) fn forget(&self) {
        match self.0 {}
    }

    pub(crate) fn wait_batch(&self, _: &Consumer, _: (usize, bool), _: Duration, _: &mut [u8]) -> Taken {
        match self.0 {}
    }

    pub(crate) fn work_off(&self) {
        match self.0 {}
    }

    pub(crate) fn finish(&self) {
        match self.0 {}
    }

    pub(crate) fn abandon(&self) {
        match self.0 {}
    }
}
