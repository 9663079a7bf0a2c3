//! `NativeServer`: one engine as one JavaScript thread sees it. The first one owns the engine; the others are attached to it
//! by number. Each becomes a consumer of its own when it begins to read events, and stops being one when its thread goes away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::{Function, Object};
use napi_derive::napi;
use wse_engine::config::Config;
use wse_engine::{Consumer, Engine, Pressure, SendEventOutcome, State};
use wse_protocol::close_code::CloseCode;

use crate::convert::{below_mark, id, millis, overloaded};
use crate::error::{ErrorCode, Failure, Outcome};
use crate::hot::work_off;
use crate::options::NativeOptions;
use crate::outcomes::Outcomes;
use crate::text::Text;
use crate::wake::{self, Wake};
use crate::{background, inline, registry};

/// What an engine whose owning thread dies without `stop()` grants its clients to hear of it.
const ABANDONED_STOP: Duration = Duration::from_millis(100);

/// Where a server listens; `null` for one without a port.
#[napi(object, object_from_js = false)]
pub struct NativeAddress {
    #[napi(ts_type = "string | null")]
    pub host: Option<String>,
    #[napi(ts_type = "number | null")]
    pub port: Option<u16>,
}

impl From<Option<SocketAddr>> for NativeAddress {
    fn from(address: Option<SocketAddr>) -> Self {
        Self { host: address.map(|address| address.ip().to_string()), port: address.map(|address| address.port()) }
    }
}

/// One engine, as this thread sees it.
#[napi]
pub struct NativeServer {
    pub(crate) engine: Arc<Engine>,
    pub(crate) handle: u32,
    owner: bool,
    /// It runs on the event loop of the thread that starts it.
    inline: bool,
    pub(crate) consumer: Option<Arc<Consumer>>,
    /// The one it was before, which is given back to it if nobody else has come.
    pub(crate) left: Option<Arc<Consumer>>,
    /// The number of this thread where stalls are reported.
    pub(crate) thread: u32,
    /// The number of `consumer` for `takeBatch`.
    pub(crate) reader: Option<u32>,
    drained: Option<Wake>,
    /// This thread answers the engine's questions.
    pub(crate) answers: bool,
    /// What became of requests to recover.
    pub(crate) outcomes: Arc<Outcomes>,
}

#[napi]
impl NativeServer {
    /// Makes an engine that is not running yet.
    #[napi(constructor)]
    pub fn new(env: &Env, options: NativeOptions) -> napi::Result<Self> {
        let inline = options.is_inline().map_err(|failure| failure.thrown(env))?;
        let config = options.into_config().map_err(|failure| failure.thrown(env))?;
        let config = if inline { Config { shards: 1, ..config } } else { config };
        let engine = Arc::new(Engine::new(config));
        let handle = registry::insert(&engine);
        let mut server = Self::of(engine, handle);
        (server.owner, server.inline) = (true, inline);
        Ok(server)
    }

    /// Another view of a running engine, usually from a worker thread.
    #[napi(factory)]
    pub fn attach(env: &Env, handle: u32) -> napi::Result<Self> {
        let engine = registry::find(handle).ok_or_else(|| {
            Failure::new(ErrorCode::UnknownHandle, "no server of this process has this handle").thrown(env)
        })?;
        Ok(Self::of(engine, handle))
    }

    /// The engine's number, for the functions that take a `handle`.
    #[napi]
    pub fn handle(&self) -> u32 {
        self.handle
    }

    /// Binds the address, if there is one, and starts the threads, or serves on this thread's event loop; where it listens.
    #[napi(ts_return_type = "Promise<NativeAddress>")]
    pub fn start<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        let engine = Arc::clone(&self.engine);
        if self.inline {
            let (bind, number) = (Arc::clone(&engine), self.handle);
            return background::promise_then(
                env,
                "start",
                move || Ok(bind.bind()?),
                move |env, bound| Ok(NativeAddress::from(inline::start(env, number, &engine, bound)?)),
            );
        }
        background::promise(env, "start", move || Ok(NativeAddress::from(engine.start()?)))
    }

    /// Sends every client a Close and waits until they have left; true: all of them left in time.
    #[napi(ts_return_type = "Promise<boolean>")]
    pub fn drain<'env>(
        &self,
        env: &'env Env,
        code: u16,
        reason: String,
        timeout_ms: f64,
    ) -> napi::Result<Object<'env>> {
        let engine = Arc::clone(&self.engine);
        let timeout = millis(timeout_ms);
        background::promise(env, "drain", move || Ok(engine.drain(CloseCode(code), &reason, timeout)?))
    }

    /// Closes every connection and ends the threads.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn stop<'env>(&self, env: &'env Env, code: u16, reason: String, timeout_ms: f64) -> napi::Result<Object<'env>> {
        let engine = Arc::clone(&self.engine);
        let timeout = millis(timeout_ms);
        let (number, stop) = (self.handle, move || {
            engine.stop(CloseCode(code), &reason, timeout);
            Ok(())
        });
        background::promise_then(env, "stop", stop, move |_, ()| {
            if let Some(host) = inline::find(number) {
                host.finish();
            }
            Ok(())
        })
    }

    /// Sends a JSON object as an envelope. Bytes of its payload on the wire; 0: a duplicate, or rate limited; null: nobody
    /// has this id.
    #[napi]
    pub fn send_event(
        &self,
        env: &Env,
        conn: f64,
        json: String,
        compression_threshold: u32,
    ) -> napi::Result<Option<u32>> {
        let sent = || {
            self.running()?;
            let event = serde_json::from_str(&json).map_err(|error| Failure::new(ErrorCode::InvalidEvent, error))?;
            match self.engine.send_event(id(conn), event, compression_threshold as usize) {
                SendEventOutcome::Sent(bytes) => Ok(Some(u32::try_from(bytes).unwrap_or(u32::MAX))),
                SendEventOutcome::Duplicate | SendEventOutcome::RateLimited => Ok(Some(0)),
                SendEventOutcome::UnknownConnection => Ok(None),
                SendEventOutcome::Refused => Err(overloaded()),
            }
        };
        sent().map_err(|failure| failure.thrown(env))
    }

    /// Sends a text to everybody; false: taken, but publishers should wait.
    #[napi]
    pub fn broadcast_all(&self, env: &Env, #[napi(ts_arg_type = "string")] text: Text) -> napi::Result<bool> {
        let sent = self.running().and_then(|()| self.below_mark(self.engine.broadcast_all(&text)));
        sent.map_err(|failure| failure.thrown(env))
    }

    /// Sends bytes to everybody; false: taken, but publishers should wait.
    #[napi]
    pub fn broadcast_all_bytes(&self, env: &Env, bytes: &[u8]) -> napi::Result<bool> {
        let sent = self.running().and_then(|()| self.below_mark(self.engine.broadcast_all_bytes(bytes)));
        sent.map_err(|failure| failure.thrown(env))
    }

    /// Whether publishing may go on.
    #[napi]
    pub fn is_below_mark(&self) -> bool {
        self.engine.pressure() == Pressure::Fine
    }

    /// Called, unreferenced, each time publishing may go on again; null: not any more.
    #[napi]
    pub fn on_drained(
        &mut self,
        #[napi(ts_arg_type = "(() => void) | null")] callback: Option<Function<'_, (), ()>>,
    ) -> napi::Result<()> {
        self.forget_drained();
        if let Some(callback) = callback {
            let wake = self.wake(&callback)?;
            self.engine.on_writable(Arc::clone(&wake));
            self.drained = Some(wake);
        }
        Ok(())
    }

    /// The state of the engine as the text of a JSON object.
    #[napi]
    pub fn health_snapshot(&self) -> String {
        self.engine.health().to_string()
    }

    /// The metrics in the Prometheus text format.
    #[napi]
    pub fn prometheus_metrics(&self) -> String {
        self.engine.prometheus()
    }

    /// Uses another certificate from now on; on an error the old one stays in use. PEM texts.
    #[napi]
    pub fn reload_tls(&self, env: &Env, cert: &[u8], key: &[u8]) -> napi::Result<()> {
        self.engine.reload_tls(cert, key).map_err(|error| Failure::from(error).thrown(env))
    }

    /// A view of an engine that is somebody else's.
    fn of(engine: Arc<Engine>, handle: u32) -> Self {
        Self {
            engine,
            handle,
            owner: false,
            inline: false,
            consumer: None,
            left: None,
            thread: 0,
            reader: None,
            drained: None,
            answers: false,
            outcomes: Arc::default(),
        }
    }

    fn below_mark(&self, pressure: Pressure) -> Outcome<bool> {
        work_off(self.handle, pressure);
        below_mark(pressure)
    }

    pub(crate) fn running(&self) -> Outcome<()> {
        Ok(self.engine.check_running()?)
    }

    /// What calls `callback`, from any thread.
    pub(crate) fn wake(&self, callback: &Function<'_, (), ()>) -> napi::Result<Wake> {
        self.wake_for(callback, None)
    }

    /// The same for a function that takes what waits for `reader`.
    pub(crate) fn wake_for(
        &self,
        callback: &Function<'_, (), ()>,
        reader: Option<&Arc<Consumer>>,
    ) -> napi::Result<Wake> {
        match inline::find(self.handle) {
            Some(host) => host.wake(callback, reader),
            None => wake::from_function(callback),
        }
    }

    fn forget_drained(&mut self) {
        if let Some(old) = self.drained.take() {
            self.engine.off_writable(&old);
            drop(old);
            self.forget_wakes();
        }
    }

    pub(crate) fn forget_wakes(&self) {
        if let Some(host) = inline::find(self.handle) {
            host.forget();
        }
    }
}

/// Runs when the object is collected and when its environment ends, a terminated worker included.
impl Drop for NativeServer {
    fn drop(&mut self) {
        self.forget_drained();
        self.stop_answering();
        self.stop_settling();
        self.stop_consuming();
        if self.owner {
            if let Some(host) = inline::find(self.handle) {
                host.abandon();
            }
            if self.engine.state() != State::Stopped {
                self.engine.abandon(CloseCode::SERVICE_RESTART, "", ABANDONED_STOP);
            }
            registry::remove(self.handle);
        }
    }
}
