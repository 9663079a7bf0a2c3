//! The few system calls std does not offer. All `unsafe` of this crate is here.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// CLOCK_MONOTONIC in nanoseconds: the same clock in every process of this machine.
pub(crate) fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the length of the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// User and system time of this thread, which is the whole process but for the `ceiling` row, in nanoseconds.
pub(crate) fn own_cpu() -> u64 {
    // SAFETY: all-zero is a valid rusage, and the pointer is valid for the length of the call.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        usage
    };
    let nanos =
        |time: libc::timeval| time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_usec.cast_unsigned() * 1_000;
    nanos(usage.ru_utime) + nanos(usage.ru_stime)
}

/// Clock ticks per second of /proc figures.
pub(crate) fn ticks_per_second() -> u64 {
    // SAFETY: takes no pointers.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1).cast_unsigned()
}

/// Raises the limit of open files to what the system allows and returns it.
pub(crate) fn raise_file_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for the length of both calls.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
    limit.rlim_cur
}

/// What was a `usize` before it went through 64 bits: a token of epoll, a remainder.
pub(crate) fn index(value: u64) -> usize {
    usize::try_from(value).expect("it was one")
}

#[expect(clippy::cast_possible_truncation, reason = "a constant, 2")]
const FAMILY: libc::sa_family_t = libc::AF_INET as libc::sa_family_t;

#[expect(clippy::cast_possible_truncation, reason = "a few bytes")]
const fn socklen<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

fn address(of: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: FAMILY,
        sin_port: of.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*of.ip()).to_be() },
        sin_zero: [0; 8],
    }
}

fn set_option(fd: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let len = socklen::<i32>();
    // SAFETY: `value` lives through the call and `len` is its size.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), len) }).map(drop)
}

/// Begins a non-blocking connection from `source` (any free port of it) to `target`. A `receive_buffer` above zero fixes
/// the kernel's buffer instead of letting it grow.
pub(crate) fn connect(source: Ipv4Addr, target: SocketAddrV4, receive_buffer: i32) -> io::Result<TcpStream> {
    // SAFETY: the descriptor returned is new and owned by nobody else.
    let owned = unsafe {
        OwnedFd::from_raw_fd(check(libc::socket(
            libc::AF_INET,
            libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            0,
        ))?)
    };
    let fd = owned.as_raw_fd();
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    // The port is chosen at connect, by the whole pair of addresses: no port is used up per address.
    set_option(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
    if receive_buffer > 0 {
        set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, receive_buffer)?;
    }
    let len = socklen::<libc::sockaddr_in>();
    let (from, to) = (address(SocketAddrV4::new(source, 0)), address(target));
    // SAFETY: both addresses live through the calls and `len` is their size.
    unsafe {
        check(libc::bind(fd, (&raw const from).cast(), len))?;
        if let Err(error) = check(libc::connect(fd, (&raw const to).cast(), len))
            && error.raw_os_error() != Some(libc::EINPROGRESS)
        {
            return Err(error);
        }
    }
    Ok(TcpStream::from(owned))
}

/// A counter another thread wakes an epoll with.
pub(crate) fn eventfd() -> io::Result<File> {
    // SAFETY: the descriptor returned is new and owned by nobody else.
    unsafe { Ok(File::from_raw_fd(check(libc::eventfd(0, libc::EFD_CLOEXEC))?)) }
}

/// A level-triggered epoll instance.
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

pub(crate) use libc::epoll_event as Event;
pub(crate) const READ: u32 = libc::EPOLLIN.cast_unsigned();
pub(crate) const WRITE: u32 = libc::EPOLLOUT.cast_unsigned();

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: the descriptor returned is new and owned by nobody else.
        unsafe { Ok(Self(OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?))) }
    }

    fn control(&self, op: i32, fd: RawFd, interest: u32, token: u64) -> io::Result<()> {
        let mut event = Event { events: interest, u64: token };
        // SAFETY: `event` lives through the call.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), op, fd, &raw mut event) }).map(drop)
    }

    pub(crate) fn add(&self, socket: &impl AsRawFd, interest: u32, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, socket.as_raw_fd(), interest, token)
    }

    pub(crate) fn change(&self, socket: &TcpStream, interest: u32, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, socket.as_raw_fd(), interest, token)
    }

    /// Waits up to `nanos`; `events` receives what is ready.
    pub(crate) fn wait(&self, events: &mut Vec<Event>, nanos: u64) -> io::Result<()> {
        let timeout = libc::timespec {
            tv_sec: (nanos / 1_000_000_000).cast_signed(),
            tv_nsec: (nanos % 1_000_000_000).cast_signed(),
        };
        events.clear();
        // SAFETY: the spare capacity of `events` is writable memory for that many entries, the kernel fills the first
        // `ready` of them, and no signal mask is passed.
        unsafe {
            let room = i32::try_from(events.capacity()).unwrap_or(i32::MAX);
            match check(libc::epoll_pwait2(
                self.0.as_raw_fd(),
                events.as_mut_ptr(),
                room,
                &raw const timeout,
                std::ptr::null(),
            )) {
                Ok(ready) => events.set_len(ready.cast_unsigned() as usize),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
