//! A listening socket, of a port or of a file: how it is accepted from, and what becomes of the file. Accepts nobody by itself.
//!
//! A socket of a file is a stream like any other: once it is accepted it is carried as a `TcpStream`, a name for a descriptor that is
//! read, written and shut down alike. What only TCP has (its options, its addresses) fails on it and is never relied on.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

use mio::event::Source;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use super::arrival::tune;

/// Whether accepted sockets have the listening socket's options. On Linux they do: tuned once, not per connect.
pub(super) const INHERITED: bool = cfg!(target_os = "linux");

/// A socket that listens and does not block.
pub(crate) enum Listening {
    Port(TcpListener),
    #[cfg(unix)]
    File(file::Listener),
}

impl Listening {
    /// Where it listens; `None`: in a file.
    pub(crate) fn address(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Port(listener) => listener.local_addr().map(Some),
            #[cfg(unix)]
            Self::File(_) => Ok(None),
        }
    }

    /// Has `registry` tell with `token` that somebody wants to connect.
    pub(super) fn register(self, registry: &Registry, token: Token) -> io::Result<Door> {
        let mut door = match self {
            Self::Port(listener) => {
                if INHERITED {
                    tune(SockRef::from(&listener));
                }
                Door::Port(mio::net::TcpListener::from_std(listener))
            }
            #[cfg(unix)]
            Self::File(file::Listener { socket, file }) => {
                Door::File { listener: mio::net::UnixListener::from_std(socket), _file: file }
            }
        };
        let source: &mut dyn Source = match &mut door {
            Door::Port(listener) => listener,
            #[cfg(unix)]
            Door::File { listener, .. } => listener,
        };
        source.register(registry, token, Interest::READABLE)?;
        Ok(door)
    }
}

/// One that is registered.
pub(super) enum Door {
    Port(mio::net::TcpListener),
    #[cfg(unix)]
    File {
        listener: mio::net::UnixListener,
        /// Goes when nobody listens any more.
        _file: file::SocketFile,
    },
}

impl Door {
    /// The next socket, which does not block, and where it comes from; `None`: from this machine, through the file.
    pub(super) fn accept(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        match self {
            Self::Port(listener) => {
                let (stream, peer) = listener.accept()?;
                let stream = TcpStream::from(stream);
                if !INHERITED {
                    tune(SockRef::from(&stream));
                }
                Ok((stream, Some(peer)))
            }
            #[cfg(unix)]
            Self::File { listener, .. } => {
                use std::os::fd::OwnedFd;
                let (stream, _) = listener.accept()?;
                let stream = std::os::unix::net::UnixStream::from(stream);
                Ok((TcpStream::from(OwnedFd::from(stream)), None))
            }
        }
    }
}

/// Listens in a file of this name, which a process that is dead may have left.
#[cfg(unix)]
pub(super) fn listen_in(path: &std::path::Path, backlog: i32) -> io::Result<Listening> {
    file::Listener::bind(path, backlog).map(Listening::File)
}

/// There are no such files here.
#[cfg(not(unix))]
pub(super) fn listen_in(_: &std::path::Path, _: i32) -> io::Result<Listening> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(unix)]
mod file {
    use std::fs;
    use std::io;
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    use std::os::unix::net::UnixListener;
    use std::path::{Path, PathBuf};

    use socket2::{Domain, SockAddr, Socket, Type};

    /// A listening socket and its file.
    pub(crate) struct Listener {
        pub(super) socket: UnixListener,
        pub(super) file: SocketFile,
    }

    /// A socket's name in the file system; removed when dropped, unless it is somebody else's by then.
    pub(crate) struct SocketFile {
        path: PathBuf,
        /// Device and number: the file it was.
        identity: (u64, u64),
    }

    impl Listener {
        /// Binds. Its mode is what the process's umask leaves of 0777.
        pub(super) fn bind(path: &Path, backlog: i32) -> io::Result<Self> {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            let address = SockAddr::unix(path)?;
            match socket.bind(&address) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
                    fs::remove_file(path)?;
                    socket.bind(&address)?;
                }
                bound => bound?,
            }
            let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
            socket.listen(backlog)?;
            socket.set_nonblocking(true)?;
            Ok(Self { socket: socket.into(), file })
        }
    }

    impl Drop for SocketFile {
        fn drop(&mut self) {
            if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
                // What cannot be removed is found to be stale by the next.
                let _ = fs::remove_file(&self.path);
            }
        }
    }

    fn identity(path: &Path) -> io::Result<(u64, u64)> {
        fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
    }

    /// Whether this is a socket at which nobody listens any more. Anything else is not ours to remove.
    fn is_stale(path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
            && connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// Never waits: a process that lives and accepts nobody has a full backlog, at which a connect that may wait does so for ever.
    fn connect(path: &Path) -> io::Result<()> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    }

    #[cfg(test)]
    mod tests {
        use std::sync::mpsc::channel;
        use std::time::Duration;

        use super::*;

        #[test]
        fn a_process_that_accepts_nobody_is_alive() {
            let folder = std::env::temp_dir().join(format!("wse-stuck-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            let path = folder.join("app.sock");
            let stuck = Listener::bind(&path, 1).unwrap();
            let mut waiting = Vec::new();
            while waiting.len() < 1000 {
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
                socket.set_nonblocking(true).unwrap();
                if socket.connect(&SockAddr::unix(&path).unwrap()).is_err() {
                    break;
                }
                waiting.push(socket);
            }
            let (tell, told) = channel();
            let second = path.clone();
            std::thread::spawn(move || tell.send(Listener::bind(&second, 1).map(drop).map_err(|error| error.kind())));
            let bound = told.recv_timeout(Duration::from_secs(20));
            assert_eq!(bound, Ok(Err(io::ErrorKind::AddrInUse)));
            assert!(path.exists());
            drop(stuck);
            fs::remove_dir_all(&folder).unwrap();
        }
    }
}
