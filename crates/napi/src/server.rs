//! `NativeServer`: one engine as one JavaScript thread sees it. The first one owns the engine; the others are attached to it
//! by number. Each becomes a consumer of its own when it begins to read events, and stops being one when its thread goes away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::{Float64Array, Function, Object, Uint8Array};
use napi_derive::napi;
use wse_engine::config::Config;
use wse_engine::{Consumer, Engine, Pressure, SendEventOutcome, State, Subscribed};
use wse_protocol::close_code::CloseCode;

use crate::connection::NativeConnectionInfo;
use crate::convert::{below_mark, crossed, id, millis, overloaded};
use crate::error::{ErrorCode, Failure, Outcome};
use crate::hot::{add_reader, remove_reader, work_off};
use crate::options::NativeOptions;
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

/// Members of one queue group.
#[napi(object, object_from_js = false)]
pub struct NativeQueueGroup {
    pub group: String,
    pub members: u32,
}

/// One engine, as this thread sees it.
#[napi]
pub struct NativeServer {
    pub(crate) engine: Arc<Engine>,
    handle: u32,
    owner: bool,
    /// It runs on the event loop of the thread that starts it.
    inline: bool,
    consumer: Option<Arc<Consumer>>,
    /// The number of `consumer` for `takeBatch`.
    reader: Option<u32>,
    drained: Option<Wake>,
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
        Ok(Self { engine, handle, owner: true, inline, consumer: None, reader: None, drained: None })
    }

    /// Another view of a running engine, usually from a worker thread.
    #[napi(factory)]
    pub fn attach(env: &Env, handle: u32) -> napi::Result<Self> {
        let engine = registry::find(handle).ok_or_else(|| {
            Failure::new(ErrorCode::UnknownHandle, "no server of this process has this handle").thrown(env)
        })?;
        Ok(Self { engine, handle, owner: false, inline: false, consumer: None, reader: None, drained: None })
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

    /// How many of the topics were accepted; null: nobody has this id. Throws `WSE_SUBSCRIPTION_LIMIT` when the connection
    /// has no subscription left.
    #[napi]
    pub fn subscribe(
        &self,
        env: &Env,
        conn: f64,
        topics: Vec<String>,
        #[napi(ts_arg_type = "string | null")] queue_group: Option<String>,
    ) -> napi::Result<Option<u32>> {
        let subscribed =
            self.running().and_then(|()| match self.engine.subscribe(id(conn), &topics, queue_group.as_deref()) {
                Subscribed::Accepted(count) => Ok(Some(u32::try_from(count).unwrap_or(u32::MAX))),
                Subscribed::UnknownConnection => Ok(None),
                Subscribed::NoBudget => Err(Failure::new(
                    ErrorCode::SubscriptionLimit,
                    "the connection has no subscription left (maxSubscriptionsPerConnection)",
                )),
            });
        subscribed.map_err(|failure| failure.thrown(env))
    }

    /// Ends subscriptions, all of them with null; false: nobody has this id.
    #[napi]
    pub fn unsubscribe(
        &self,
        env: &Env,
        conn: f64,
        #[napi(ts_arg_type = "string[] | null")] topics: Option<Vec<String>>,
    ) -> napi::Result<bool> {
        self.running().map_err(|failure| failure.thrown(env))?;
        Ok(self.engine.unsubscribe(id(conn), topics.as_deref()))
    }

    /// Replaces the ACL of a connection; null allows everything, and denies nothing; false: nobody has this id.
    #[napi]
    pub fn set_topic_acl(
        &self,
        env: &Env,
        conn: f64,
        #[napi(ts_arg_type = "string[] | null")] allow: Option<Vec<String>>,
        #[napi(ts_arg_type = "string[] | null")] deny: Option<Vec<String>>,
    ) -> napi::Result<bool> {
        let (allow, deny) = (allow.unwrap_or_default(), deny.unwrap_or_default());
        let set = self.running().and_then(|()| {
            let set = self.engine.set_topic_acl(id(conn), &allow, &deny);
            set.map_err(|error| Failure::new(ErrorCode::InvalidAcl, error))
        });
        set.map_err(|failure| failure.thrown(env))
    }

    /// Closes a connection; false: nobody has this id.
    #[napi]
    pub fn disconnect(&self, env: &Env, conn: f64, code: u16, reason: String) -> napi::Result<bool> {
        self.running().map_err(|failure| failure.thrown(env))?;
        Ok(self.engine.disconnect(id(conn), CloseCode(code), &reason))
    }

    /// How many connections are open.
    #[napi]
    pub fn connection_count(&self) -> u32 {
        u32::try_from(self.engine.connection_count()).unwrap_or(u32::MAX)
    }

    /// The ids of all open connections.
    #[napi]
    pub fn connections(&self) -> Float64Array {
        numbers(self.engine.connections())
    }

    /// The UUID a client knows its connection by; null: nobody has this id.
    #[napi]
    pub fn connection_id(&self, conn: f64) -> Option<String> {
        self.engine.connection_uuid(id(conn))
    }

    /// The subprotocol a connection has agreed on; null: none, or nobody has this id.
    #[napi]
    pub fn connection_protocol(&self, conn: f64) -> Option<String> {
        self.engine.connection_protocol(id(conn)).map(|name| name.to_string())
    }

    /// What is known of a connection; null: nobody has this id.
    #[napi(ts_return_type = "NativeConnectionInfo | null")]
    pub fn connection_info(&self, conn: f64) -> Option<NativeConnectionInfo> {
        self.engine.connection_info(id(conn)).map(NativeConnectionInfo::from)
    }

    /// The ids of the connections of the user a verified token names.
    #[napi]
    pub fn user_connections(&self, user: String) -> Float64Array {
        numbers(self.engine.user_connections(&user))
    }

    /// How many connections are subscribed to exactly this name.
    #[napi]
    pub fn topic_subscriber_count(&self, topic: String) -> u32 {
        u32::try_from(self.engine.topic_subscribers(&topic)).unwrap_or(u32::MAX)
    }

    /// The queue groups of a topic.
    #[napi]
    pub fn queue_group_info(&self, topic: String) -> Vec<NativeQueueGroup> {
        let groups = self.engine.queue_groups(&topic).into_iter();
        groups
            .map(|(group, members)| NativeQueueGroup { group, members: u32::try_from(members).unwrap_or(u32::MAX) })
            .collect()
    }

    /// Whether the engine runs on the event loop of this thread.
    #[napi]
    pub fn runs_here(&self) -> bool {
        inline::find(self.handle).is_some()
    }

    /// One unreferenced wake per batch that appears after `takeBatch` found nothing. Makes this thread a consumer, and returns
    /// its number for `takeBatch`; null ends that.
    #[napi]
    pub fn on_batch(
        &mut self,
        #[napi(ts_arg_type = "(() => void) | null")] callback: Option<Function<'_, (), ()>>,
    ) -> napi::Result<u32> {
        let Some(callback) = callback else {
            self.stop_consuming();
            return Ok(0);
        };
        let wake = self.wake(&callback)?;
        let consumer = self.consume();
        let reader = *self.reader.get_or_insert_with(|| add_reader(&self.engine, &consumer));
        self.engine.on_batch(&consumer, Some(wake));
        Ok(reader)
    }

    /// As `takeBatch`, but blocks up to `timeoutMs` milliseconds for the first event.
    #[napi]
    pub fn drain_inbound(&mut self, mut out: Uint8Array, max: u32, columns: bool, timeout_ms: f64) -> f64 {
        let consumer = self.consume();
        // SAFETY: the facade hands in a buffer of its own that no other thread sees, and JavaScript does not run meanwhile.
        let out = unsafe { out.as_mut() };
        let timeout = millis(timeout_ms);
        crossed(match inline::find(self.handle) {
            Some(host) => host.wait_batch(&consumer, (max as usize, columns), timeout, out),
            None => self.engine.wait_batch(&consumer, max as usize, columns, timeout, out),
        })
    }

    /// Whether any thread reads events.
    #[napi]
    pub fn has_reader(&self) -> bool {
        self.engine.has_reader()
    }

    /// Inbound events waiting to be read.
    #[napi]
    pub fn inbound_queue_depth(&self) -> u32 {
        u32::try_from(self.engine.inbound_queue_depth()).unwrap_or(u32::MAX)
    }

    /// Inbound events dropped since the start.
    #[napi]
    pub fn inbound_dropped_count(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
        let dropped = self.engine.inbound_dropped() as f64;
        dropped
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

    fn below_mark(&self, pressure: Pressure) -> Outcome<bool> {
        work_off(self.handle, pressure);
        below_mark(pressure)
    }

    fn running(&self) -> Outcome<()> {
        Ok(self.engine.check_running()?)
    }

    /// Gives this thread's connections to the next one that reads.
    fn stop_consuming(&mut self) {
        if let Some(reader) = self.reader.take() {
            remove_reader(reader);
        }
        if let Some(consumer) = self.consumer.take() {
            self.engine.leave(&consumer);
            self.forget_wakes();
        }
    }

    /// What calls `callback`, from any thread.
    fn wake(&self, callback: &Function<'_, (), ()>) -> napi::Result<Wake> {
        match inline::find(self.handle) {
            Some(host) => host.wake(callback),
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

    fn forget_wakes(&self) {
        if let Some(host) = inline::find(self.handle) {
            host.forget();
        }
    }

    fn consume(&mut self) -> Arc<Consumer> {
        Arc::clone(self.consumer.get_or_insert_with(|| self.engine.join()))
    }
}

/// Ids of connections, as JavaScript's numbers.
#[expect(clippy::cast_precision_loss, reason = "connection ids stay below 2^53")]
fn numbers(ids: Vec<u64>) -> Float64Array {
    Float64Array::new(ids.into_iter().map(|id| id as f64).collect())
}

/// Runs when the object is collected and when its environment ends, a terminated worker included.
impl Drop for NativeServer {
    fn drop(&mut self) {
        self.forget_drained();
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
