//! `NativeServer`: one engine as one JavaScript thread sees it. The first one owns the engine; the others are attached to it
//! by number. Each becomes a consumer of its own when it begins to drain, and stops being one when its thread goes away.

use std::sync::Arc;
use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::{Float64Array, Function, Object, Uint8Array};
use napi_derive::napi;
use wse_engine::{Consumer, Engine, SendEventOutcome, State, Subscribed, Taken};
use wse_protocol::close_code::CloseCode;

use crate::hot::{id, overloaded, scale};
use crate::options::NativeOptions;
use crate::text::Text;
use crate::wake::{self, Wake};
use crate::{background, error, registry};

/// What an engine whose owning thread dies without `stop()` grants its clients to hear of it.
const ABANDONED_STOP: Duration = Duration::from_millis(100);
/// Where a server listens.
#[napi(object, object_from_js = false)]
pub struct NativeAddress {
    pub host: String,
    pub port: u16,
}

/// Members of one queue group.
#[napi(object, object_from_js = false)]
pub struct NativeQueueGroup {
    pub group: String,
    pub members: u32,
}

/// See `NativeServer` in `ts/src/native/binding.ts`.
#[napi]
pub struct NativeServer {
    engine: Arc<Engine>,
    handle: u32,
    owner: bool,
    consumer: Option<Arc<Consumer>>,
    drained: Option<Wake>,
}

#[napi]
impl NativeServer {
    /// Makes an engine that is not running yet.
    #[napi(constructor)]
    pub fn new(options: NativeOptions) -> napi::Result<Self> {
        let engine = Arc::new(Engine::new(options.into_config()?));
        let handle = registry::insert(&engine);
        Ok(Self { engine, handle, owner: true, consumer: None, drained: None })
    }

    /// Another view of a running engine, usually from a worker thread.
    #[napi(factory)]
    pub fn attach(handle: u32) -> napi::Result<Self> {
        let engine = registry::find(handle)
            .ok_or_else(|| error::coded("WSE_UNKNOWN_HANDLE", "no server of this process has this handle", ""))?;
        Ok(Self { engine, handle, owner: false, consumer: None, drained: None })
    }

    #[napi]
    pub fn handle(&self) -> u32 {
        self.handle
    }

    #[napi(ts_return_type = "Promise<NativeAddress>")]
    pub fn start<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        let engine = Arc::clone(&self.engine);
        background::promise(env, "start", move || {
            let address = engine.start().map_err(error::engine)?;
            Ok(NativeAddress { host: address.ip().to_string(), port: address.port() })
        })
    }

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
        background::promise(env, "drain", move || {
            engine.drain(CloseCode(code), &reason, timeout).map_err(error::engine)
        })
    }

    #[napi(ts_return_type = "Promise<void>")]
    pub fn stop<'env>(&self, env: &'env Env, code: u16, reason: String, timeout_ms: f64) -> napi::Result<Object<'env>> {
        let engine = Arc::clone(&self.engine);
        let timeout = millis(timeout_ms);
        background::promise(env, "stop", move || {
            engine.stop(CloseCode(code), &reason, timeout);
            Ok(())
        })
    }

    #[napi]
    pub fn send_event(&self, conn: f64, json: String, compression_threshold: u32) -> napi::Result<i64> {
        self.running()?;
        let event = serde_json::from_str(&json).map_err(|error| error::coded("WSE_INVALID_EVENT", error, ""))?;
        Ok(match self.engine.send_event(id(conn), event, compression_threshold as usize) {
            SendEventOutcome::Sent(bytes) => i64::try_from(bytes).unwrap_or(i64::MAX),
            SendEventOutcome::Duplicate | SendEventOutcome::RateLimited => 0,
            SendEventOutcome::UnknownConnection => -1,
            SendEventOutcome::Refused => return Err(overloaded()),
        })
    }

    /// Bytes above which `room` goes below 0.
    #[napi]
    pub fn high_water_mark(&self) -> f64 {
        self.engine.high_water_mark() as f64
    }

    #[napi]
    pub fn broadcast_all(&self, text: Text) -> napi::Result<i32> {
        self.running()?;
        Ok(scale(self.engine.broadcast_all(&text)))
    }

    #[napi]
    pub fn broadcast_all_bytes(&self, bytes: &[u8]) -> napi::Result<i32> {
        self.running()?;
        Ok(scale(self.engine.broadcast_all_bytes(bytes)))
    }

    #[napi]
    pub fn pressure(&self) -> i32 {
        scale(self.engine.pressure())
    }

    #[napi]
    pub fn on_drained(&mut self, callback: Option<Function<'_, (), ()>>) -> napi::Result<()> {
        if let Some(old) = self.drained.take() {
            self.engine.off_writable(&old);
        }
        if let Some(callback) = callback {
            let wake = wake::from_function(&callback)?;
            self.engine.on_writable(Arc::clone(&wake));
            self.drained = Some(wake);
        }
        Ok(())
    }

    #[napi]
    pub fn subscribe(&self, conn: f64, topics: Vec<String>, queue_group: Option<String>) -> napi::Result<i32> {
        self.running()?;
        Ok(match self.engine.subscribe(id(conn), &topics, queue_group.as_deref()) {
            Subscribed::Accepted(count) => i32::try_from(count).unwrap_or(i32::MAX),
            Subscribed::UnknownConnection => -1,
            Subscribed::NoBudget => -2,
        })
    }

    #[napi]
    pub fn unsubscribe(&self, conn: f64, topics: Option<Vec<String>>) -> napi::Result<bool> {
        self.running()?;
        Ok(self.engine.unsubscribe(id(conn), topics.as_deref()))
    }

    #[napi]
    pub fn set_topic_acl(
        &self,
        conn: f64,
        allow: Option<Vec<String>>,
        deny: Option<Vec<String>>,
    ) -> napi::Result<bool> {
        self.running()?;
        let (allow, deny) = (allow.unwrap_or_default(), deny.unwrap_or_default());
        self.engine.set_topic_acl(id(conn), &allow, &deny).map_err(|error| error::coded("WSE_INVALID_ACL", error, ""))
    }

    #[napi]
    pub fn disconnect(&self, conn: f64, code: u16, reason: String) -> napi::Result<bool> {
        self.running()?;
        Ok(self.engine.disconnect(id(conn), CloseCode(code), &reason))
    }

    #[napi]
    pub fn connection_count(&self) -> u32 {
        u32::try_from(self.engine.connection_count()).unwrap_or(u32::MAX)
    }

    #[napi]
    pub fn connections(&self) -> Float64Array {
        #[expect(clippy::cast_precision_loss, reason = "connection ids stay below 2^53")]
        let ids: Vec<f64> = self.engine.connections().into_iter().map(|id| id as f64).collect();
        Float64Array::new(ids)
    }

    #[napi]
    pub fn connection_id(&self, conn: f64) -> Option<String> {
        self.engine.connection_uuid(id(conn))
    }

    #[napi]
    pub fn topic_subscriber_count(&self, topic: String) -> u32 {
        u32::try_from(self.engine.topic_subscribers(&topic)).unwrap_or(u32::MAX)
    }

    #[napi]
    pub fn queue_group_info(&self, topic: String) -> Vec<NativeQueueGroup> {
        let groups = self.engine.queue_groups(&topic).into_iter();
        groups
            .map(|(group, members)| NativeQueueGroup { group, members: u32::try_from(members).unwrap_or(u32::MAX) })
            .collect()
    }

    #[napi]
    pub fn take_batch(&mut self, mut out: Uint8Array, max: u32, columns: bool) -> f64 {
        let consumer = self.consume();
        // SAFETY: the facade hands in a buffer of its own that no other thread sees, and JavaScript does not run meanwhile.
        let out = unsafe { out.as_mut() };
        crossed(self.engine.take_batch(&consumer, max as usize, columns, out))
    }

    #[napi]
    pub fn on_batch(&mut self, callback: Option<Function<'_, (), ()>>) -> napi::Result<()> {
        let Some(callback) = callback else {
            self.stop_consuming();
            return Ok(());
        };
        let wake = wake::from_function(&callback)?;
        let consumer = self.consume();
        self.engine.on_batch(&consumer, Some(wake));
        Ok(())
    }

    #[napi]
    pub fn drain_inbound(&mut self, mut out: Uint8Array, max: u32, columns: bool, timeout_ms: f64) -> f64 {
        let consumer = self.consume();
        // SAFETY: as in `take_batch`.
        let out = unsafe { out.as_mut() };
        crossed(self.engine.wait_batch(&consumer, max as usize, columns, millis(timeout_ms), out))
    }

    /// Whether any thread reads events.
    #[napi]
    pub fn is_drained(&self) -> bool {
        self.engine.has_reader()
    }

    #[napi]
    pub fn inbound_queue_depth(&self) -> u32 {
        u32::try_from(self.engine.inbound_queue_depth()).unwrap_or(u32::MAX)
    }

    #[napi]
    pub fn inbound_dropped_count(&self) -> f64 {
        self.engine.inbound_dropped() as f64
    }

    #[napi]
    pub fn health_snapshot(&self) -> String {
        self.engine.health().to_string()
    }

    #[napi]
    pub fn prometheus_metrics(&self) -> String {
        self.engine.prometheus()
    }

    #[napi]
    pub fn reload_tls(&self, cert: &[u8], key: &[u8]) -> napi::Result<()> {
        self.engine.reload_tls(cert, key).map_err(error::engine)
    }

    fn running(&self) -> napi::Result<()> {
        self.engine.check_running().map_err(error::engine)
    }

    /// Gives this thread's connections to the next one that drains.
    fn stop_consuming(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            self.engine.leave(&consumer);
        }
    }

    fn consume(&mut self) -> Arc<Consumer> {
        Arc::clone(self.consumer.get_or_insert_with(|| self.engine.join()))
    }
}

/// Runs when the object is collected and when its environment ends, a terminated worker included.
impl Drop for NativeServer {
    fn drop(&mut self) {
        if let Some(wake) = self.drained.take() {
            self.engine.off_writable(&wake);
        }
        self.stop_consuming();
        if self.owner {
            if self.engine.state() != State::Stopped {
                self.engine.abandon(CloseCode::SERVICE_RESTART, "", ABANDONED_STOP);
            }
            registry::remove(self.handle);
        }
    }
}

/// Bytes taken, 0 for nothing, and below 0 the size the buffer must have.
#[expect(clippy::cast_precision_loss, reason = "sizes stay far below 2^53")]
const fn crossed(taken: Taken) -> f64 {
    match taken {
        Taken::Nothing => 0.0,
        Taken::Needs(size) => -(size as f64),
        Taken::Bytes(count) => count as f64,
    }
}

fn millis(value: f64) -> Duration {
    Duration::try_from_secs_f64(value / 1000.0).unwrap_or(Duration::ZERO)
}
