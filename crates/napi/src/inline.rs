//! An engine on the event loop of this JavaScript thread: a poller of libuv watches the engine's one descriptor, a prepare handle
//! sees to what JavaScript has left behind before the loop sleeps, an idle handle keeps it turning while there is more to do, and
//! a timer is the engine's clock. No handle keeps the process alive.
//!
//! Everything here belongs to one thread. No borrow of the engine is held while JavaScript runs: what it calls comes back here.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::net::SocketAddr;
use std::ptr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use napi::bindgen_prelude::{Function, FunctionRef};
use napi::{Env, JsValue, sys};
use wse_engine::{Bound, Consumer, Engine, Inline, State, Step, Taken};
use wse_protocol::close_code::CloseCode;

use crate::error::{ErrorCode, Failure, Outcome};
use crate::uv::{Handle, Kind, READABLE, Uv};
use crate::wake::Wake;

/// What an engine whose thread ends without `stop()` grants its clients to hear of it.
const ABANDONED_STOP: Duration = Duration::from_millis(100);
/// How often the engine looks at its clock, milliseconds.
const TICK_MS: u64 = 100;
/// Turns of the engine for one of the loop: what JavaScript answers goes out at once, and others have their turn after that.
const TURNS: usize = 2;

thread_local! {
    /// The engines of this thread, by their numbers. Weak: at the end of the process it is dropped when nothing may be touched
    /// any more.
    static HOSTS: RefCell<HashMap<u32, Weak<Host>>> = RefCell::default();
}

/// Whether this runtime has what an inline engine needs.
pub(crate) fn is_possible() -> bool {
    Uv::get().is_some()
}

/// The engine of this number, if it runs on this thread.
pub(crate) fn find(number: u32) -> Option<Rc<Host>> {
    // At the end of the thread it may be gone already.
    HOSTS.try_with(|hosts| hosts.borrow().get(&number).and_then(Weak::upgrade)).ok().flatten()
}

/// An engine and the handles that drive it. Held alive by its handles until they are closed.
pub(crate) struct Host {
    number: u32,
    engine: Arc<Engine>,
    /// None once it is over.
    inline: RefCell<Option<Inline>>,
    uv: &'static Uv,
    env: sys::napi_env,
    poll: Handle,
    prepare: Handle,
    idle: Handle,
    timer: Handle,
    is_idling: Cell<bool>,
    is_ticking: Cell<bool>,
    /// Handles libuv still knows.
    open: Cell<u32>,
    is_closing: Cell<bool>,
    /// The environment waits for this one to be over.
    hook: Cell<sys::napi_async_cleanup_hook_handle>,
    callbacks: RefCell<Vec<Rc<Callback>>>,
}

/// A function of JavaScript, called after a turn in which its bell was rung.
struct Callback {
    bell: Arc<AtomicBool>,
    function: FunctionRef<(), ()>,
    /// Whose events it is called for, if it reads any.
    reader: Option<Arc<Consumer>>,
}

/// Starts `engine` on this thread. Returns where it listens, if it does.
pub(crate) fn start(env: &Env, number: u32, engine: &Arc<Engine>, bound: Bound) -> Outcome<Option<SocketAddr>> {
    let failed = |what: &str| Failure::new(ErrorCode::Engine("WSE_START_FAILED"), format!("the event loop: {what}"));
    let uv = Uv::get().ok_or_else(|| failed("this runtime has no libuv"))?;
    let mut event_loop = ptr::null_mut();
    // SAFETY: `env` is that of the call being served.
    if unsafe { sys::napi_get_uv_event_loop(env.raw(), &raw mut event_loop) } != sys::Status::napi_ok {
        return Err(failed("this thread has none"));
    }
    let inline = engine.start_inline(bound)?;
    let address = inline.address();
    let descriptor = inline.poll_fd();
    let host = Rc::new(Host {
        number,
        engine: Arc::clone(engine),
        inline: RefCell::new(Some(inline)),
        uv,
        env: env.raw(),
        poll: uv.allocate(Kind::Poll),
        prepare: uv.allocate(Kind::Prepare),
        idle: uv.allocate(Kind::Idle),
        timer: uv.allocate(Kind::Timer),
        is_idling: Cell::new(false),
        is_ticking: Cell::new(false),
        open: Cell::new(0),
        is_closing: Cell::new(false),
        hook: Cell::new(ptr::null_mut()),
        callbacks: RefCell::default(),
    });
    // SAFETY: the loop is this thread's and outlives what is registered with it, which the cleanup hook sees to; each handle has
    // the memory of its kind.
    let begun = unsafe { host.begin(event_loop.cast(), descriptor) };
    if begun != 0 {
        host.abandon();
        return Err(failed(&format!("libuv says {begun}")));
    }
    HOSTS.with_borrow_mut(|hosts| hosts.insert(number, Rc::downgrade(&host)));
    Ok(address)
}

impl Host {
    /// Registers the handles, in the order in which [`Host::close`] takes them back. 0, or libuv's error.
    ///
    /// # Safety
    /// `event_loop` is this thread's, and the handles are memory of their kinds.
    unsafe fn begin(self: &Rc<Self>, event_loop: *mut c_void, descriptor: c_int) -> c_int {
        let uv = self.uv;
        // SAFETY: as the caller says. Each handle that libuv knows holds the host alive until it is closed.
        unsafe {
            let known = |handle: Handle, status: c_int| {
                if status == 0 {
                    (uv.handle_set_data)(handle, Rc::into_raw(Rc::clone(self)).cast_mut().cast());
                    (uv.unref)(handle);
                    self.open.set(self.open.get() + 1);
                }
                status
            };
            let mut status = known(self.poll, (uv.poll_init)(event_loop, self.poll, descriptor));
            if status == 0 {
                status = known(self.prepare, (uv.prepare_init)(event_loop, self.prepare));
            }
            if status == 0 {
                status = known(self.idle, (uv.idle_init)(event_loop, self.idle));
            }
            if status == 0 {
                status = known(self.timer, (uv.timer_init)(event_loop, self.timer));
            }
            if status == 0 {
                status = (uv.poll_start)(self.poll, READABLE, on_poll);
            }
            if status == 0 {
                status = (uv.prepare_start)(self.prepare, on_prepare);
            }
            if status == 0 {
                let mut hook = ptr::null_mut();
                status = sys::napi_add_async_cleanup_hook(
                    self.env,
                    Some(on_cleanup),
                    Rc::as_ptr(self).cast_mut().cast(),
                    &raw mut hook,
                );
                self.hook.set(hook);
            }
            status
        }
    }

    /// What rings the bell of `function`, from any thread. Of a function that reads events, `true` says that it is done with all it took:
    /// it need not come for more to hear that there is nothing, and what it has sent goes out first.
    pub(crate) fn wake(
        self: &Rc<Self>,
        function: &Function<'_, (), ()>,
        reader: Option<&Arc<Consumer>>,
    ) -> napi::Result<Wake> {
        let bell = Arc::new(AtomicBool::new(false));
        let function = function.create_ref()?;
        self.callbacks.borrow_mut().push(Rc::new(Callback {
            bell: Arc::clone(&bell),
            function,
            reader: reader.cloned(),
        }));
        let alarm = self.inline.borrow().as_ref().map(Inline::alarm);
        let bell = Arc::downgrade(&bell);
        Ok(Arc::new(move || {
            if let Some(bell) = bell.upgrade() {
                bell.store(true, SeqCst);
                // On this thread the loop looks anyway, before it sleeps.
                if let Some(alarm) = &alarm {
                    alarm();
                }
            }
        }))
    }

    /// Forgets the functions whose wakes are gone.
    pub(crate) fn forget(&self) {
        self.callbacks.borrow_mut().retain(|callback| Arc::weak_count(&callback.bell) > 0);
    }

    /// As `Engine::wait_batch`, for the thread without which nothing would come.
    pub(crate) fn wait_batch(
        &self,
        consumer: &Consumer,
        (max, columns): (usize, bool),
        timeout: Duration,
        out: &mut [u8],
    ) -> Taken {
        let taken = match self.inline.borrow_mut().as_mut() {
            Some(inline) => self.engine.wait_batch_inline(inline, consumer, (max, columns), timeout, out),
            None => self.engine.take_batch(consumer, max, columns, out),
        };
        self.come_back();
        taken
    }

    /// A turn of the engine while JavaScript goes on publishing although it should wait: what it publishes is worked off, up to
    /// the budget of a turn, instead of piling up to the hard limit. Calls nothing back.
    ///
    /// The sockets are asked too: who takes again what it is owed must not be left behind, and the engine's clock goes on here,
    /// by which a peer whose pong nobody reads would be a zombie.
    pub(crate) fn work_off(&self) {
        self.step(true);
        self.come_back();
    }

    /// What came in outside of a turn has its time-outs all the same.
    fn come_back(&self) {
        if !self.is_closing.get() {
            self.keep_turning();
        }
    }

    /// A turn of the engine, what JavaScript makes of it, and what goes out for that. `look`: the sockets have news.
    fn turn(&self, look: bool) {
        let (mut step, mut called) = (Step::Idle, false);
        for turn in 0..TURNS {
            // Only the first asks the system, which has just been asked.
            step = self.step(look && turn == 0);
            if !self.call_back() || self.is_closing.get() {
                break;
            }
            called = true;
        }
        if called {
            self.keep_others_turning();
        }
        if self.is_closing.get() {
            return;
        }
        if step == Step::Ended {
            self.finish();
        }
        if !self.is_closing.get() {
            self.keep_turning();
        }
    }

    /// What was called may have given other engines of this thread something to do, whose prepare handles have had their turn.
    fn keep_others_turning(&self) {
        let others: Vec<Rc<Self>> = HOSTS.with_borrow(|hosts| {
            if hosts.len() < 2 { Vec::new() } else { hosts.values().filter_map(Weak::upgrade).collect() }
        });
        for other in others {
            if other.number != self.number && !other.is_closing.get() {
                other.keep_turning();
            }
        }
    }

    fn step(&self, look: bool) -> Step {
        self.inline.borrow_mut().as_mut().map_or(Step::Ended, |inline| inline.step(look))
    }

    /// Whether there is something to do that no news announces.
    fn has_work(&self) -> bool {
        self.inline.borrow().as_ref().is_some_and(Inline::has_work)
            || self.callbacks.borrow().iter().any(|callback| callback.bell.load(SeqCst))
    }

    /// Sees to it that the loop comes back without news.
    fn keep_turning(&self) {
        let uv = self.uv;
        let (works, ticks) = (self.has_work(), self.inline.borrow().as_ref().is_some_and(Inline::needs_ticks));
        // SAFETY: both handles are initialised and not closing.
        unsafe {
            if works != self.is_idling.replace(works) {
                if works {
                    (uv.idle_start)(self.idle, on_idle)
                } else {
                    (uv.idle_stop)(self.idle)
                };
            }
            if ticks != self.is_ticking.replace(ticks) {
                if ticks {
                    (uv.timer_start)(self.timer, on_timer, TICK_MS, TICK_MS);
                } else {
                    (uv.timer_stop)(self.timer);
                }
            }
        }
    }

    /// Calls the functions whose bells were rung; whether there was one.
    fn call_back(&self) -> bool {
        let rung = |callback: &&Rc<Callback>| callback.bell.swap(false, SeqCst);
        let callbacks: Vec<Rc<Callback>> = self.callbacks.borrow().iter().filter(rung).cloned().collect();
        for callback in &callbacks {
            // SAFETY: `env` is this thread's and has not ended: its cleanup closes the handles first.
            let done = unsafe { call(self.env, &callback.function) };
            if self.is_closing.get() {
                break;
            }
            if done
                && let Some(reader) = &callback.reader
                && self.engine.look_for_batch(reader)
            {
                callback.bell.store(true, SeqCst);
            }
        }
        !callbacks.is_empty()
    }

    /// Ends the engine, if it still runs, and the handles: its thread is about to be gone, or its owner is.
    pub(crate) fn abandon(&self) {
        if self.is_closing.get() {
            return;
        }
        if self.engine.state() != State::Stopped
            && let Some(inline) = self.inline.borrow_mut().as_mut()
        {
            self.engine.abandon_inline(inline, CloseCode::SERVICE_RESTART, "", ABANDONED_STOP);
        }
        // SAFETY: the handles are registered, and not closing yet.
        unsafe { self.close() };
    }

    /// Closes what is over: the engine has stopped.
    pub(crate) fn finish(&self) {
        if self.is_closing.get() || self.engine.state() != State::Stopped {
            return;
        }
        // Where its stop could not wait for this thread, what it asked for is done now.
        let until = Instant::now() + ABANDONED_STOP;
        while self.step(true) != Step::Ended && Instant::now() < until {}
        // Whoever waits hears that it is over.
        self.call_back();
        if !self.is_closing.get() {
            // SAFETY: the handles are registered, and not closing yet.
            unsafe { self.close() };
        }
    }

    /// Closes the handles that libuv knows, and the descriptors they watched; the last one frees everything.
    ///
    /// # Safety
    /// Called once, on the loop's thread.
    unsafe fn close(&self) {
        self.is_closing.set(true);
        HOSTS.with_borrow_mut(|hosts| hosts.remove(&self.number));
        self.callbacks.borrow_mut().clear();
        let handles = [self.poll, self.prepare, self.idle, self.timer];
        for handle in &handles[..self.open.get() as usize] {
            // SAFETY: it was initialised, and is closed once.
            unsafe { (self.uv.close)(*handle, Some(on_close)) };
        }
        drop(self.inline.take());
    }
}

/// By then libuv knows none of the handles.
impl Drop for Host {
    fn drop(&mut self) {
        for (kind, handle) in
            [(Kind::Poll, self.poll), (Kind::Prepare, self.prepare), (Kind::Idle, self.idle), (Kind::Timer, self.timer)]
        {
            // SAFETY: each handle that libuv knows holds the host alive.
            unsafe { self.uv.free(kind, handle) };
        }
        let hook = self.hook.get();
        if !hook.is_null() {
            // SAFETY: the handle is the environment's, which waits for this or does not end yet; removed once.
            unsafe { sys::napi_remove_async_cleanup_hook(hook) };
        }
    }
}

/// Calls a function as the event loop does: with a scope of its own, and with the microtasks behind it. Whether it returned `true`.
///
/// # Safety
/// `env` is this thread's.
unsafe fn call(env: sys::napi_env, function: &FunctionRef<(), ()>) -> bool {
    let (mut scope, mut is_true) = (ptr::null_mut(), false);
    // SAFETY: as the caller says; the scope is closed below.
    if unsafe { sys::napi_open_handle_scope(env, &raw mut scope) } != sys::Status::napi_ok {
        return false;
    }
    let (mut receiver, mut returned) = (ptr::null_mut(), ptr::null_mut());
    let wrapped = Env::from_raw(env);
    // SAFETY: as above. A status other than ok means that JavaScript may not run any more, or has thrown, and then it is reported
    // as for any callback of the loop.
    unsafe {
        if let Ok(function) = function.borrow_back(&wrapped)
            && sys::napi_get_global(env, &raw mut receiver) == sys::Status::napi_ok
        {
            let status = sys::napi_make_callback(
                env,
                ptr::null_mut(),
                receiver,
                function.raw(),
                0,
                ptr::null(),
                &raw mut returned,
            );
            if status == sys::Status::napi_ok {
                // Another value leaves it false.
                sys::napi_get_value_bool(env, returned, &raw mut is_true);
            } else if status == sys::Status::napi_pending_exception {
                let mut error = ptr::null_mut();
                if sys::napi_get_and_clear_last_exception(env, &raw mut error) == sys::Status::napi_ok {
                    sys::napi_fatal_exception(env, error);
                }
            }
        }
        sys::napi_close_handle_scope(env, scope);
    }
    is_true
}

/// The host a handle belongs to, held for as long as the call takes.
///
/// # Safety
/// `handle` is initialised and its closing is not over.
unsafe fn host_of(handle: Handle) -> Option<Rc<Host>> {
    let data = (Uv::get()?.handle_get_data, handle);
    // SAFETY: as the caller says; the data is a pointer made by `Rc::into_raw`, and counts once.
    unsafe {
        let host = (data.0)(data.1).cast_const().cast::<Host>();
        Rc::increment_strong_count(host);
        Some(Rc::from_raw(host))
    }
}

unsafe extern "C" fn on_poll(handle: Handle, _: c_int, _: c_int) {
    // SAFETY: libuv calls with a handle that is open.
    if let Some(host) = unsafe { host_of(handle) } {
        host.turn(true);
    }
}

unsafe extern "C" fn on_prepare(handle: Handle) {
    // SAFETY: as above.
    if let Some(host) = unsafe { host_of(handle) }
        && host.has_work()
    {
        host.turn(false);
    }
}

/// While it is active the loop does not sleep; what there is to do is done by `on_prepare`.
unsafe extern "C" fn on_idle(_: Handle) {}

unsafe extern "C" fn on_timer(handle: Handle) {
    // SAFETY: as above.
    if let Some(host) = unsafe { host_of(handle) } {
        host.turn(false);
    }
}

unsafe extern "C" fn on_close(handle: Handle) {
    let Some(uv) = Uv::get() else { return };
    // SAFETY: the count the handle held; libuv does not know it from here on.
    drop(unsafe { Rc::from_raw((uv.handle_get_data)(handle).cast_const().cast::<Host>()) });
}

/// The environment is about to end, and waits until the hook is removed.
unsafe extern "C" fn on_cleanup(_: sys::napi_async_cleanup_hook_handle, data: *mut c_void) {
    let host = data.cast_const().cast::<Host>();
    // SAFETY: the hook is removed before the host is freed.
    let host = unsafe {
        Rc::increment_strong_count(host);
        Rc::from_raw(host)
    };
    host.abandon();
}
