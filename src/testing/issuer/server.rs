//! The HTTP server of the embedded issuer, in its own thread and runtime.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::testing::issuer::answer::{Answer, answer};
use crate::testing::issuer::body::AnswerBody;
use crate::testing::issuer::state::State;

/// The most bytes of a request's body.
const MAX_REQUEST_BYTES: usize = 64 * 1_024;

/// How long to wait after a connection could not be accepted.
const AFTER_REFUSAL: Duration = Duration::from_millis(10);

/// The issuer's HTTP server.
///
/// It has its own thread and runtime: it works whatever runtime the test uses, if any, continues
/// while the test blocks, and may outlive the test that started it.
pub(crate) struct Server {
    commands: mpsc::UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
}

enum Command {
    Stop(oneshot::Sender<()>),
    Restart(oneshot::Sender<io::Result<()>>),
}

impl Server {
    /// Starts the server on its thread; `state` is made from the address that it listens on.
    pub(crate) async fn start(
        address: SocketAddr,
        state: impl FnOnce(SocketAddr) -> Arc<State> + Send + 'static,
    ) -> io::Result<(Self, Arc<State>, SocketAddr)> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (commands, inbox) = mpsc::unbounded_channel();
        let (ready, started) = oneshot::channel();
        let serve = move || {
            let state = state(address);
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener);
                let listener = match listener {
                    Ok(listener) => listener,
                    Err(error) => return drop(ready.send(Err(error))),
                };
                if ready.send(Ok(Arc::clone(&state))).is_ok() {
                    run(listener, address, state, inbox).await;
                }
            });
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("test-issuer".into()).spawn(serve)?;
        let server = Self { commands, thread: Some(thread) };
        let state = started.await.unwrap_or_else(|_| Err(ended()))?;
        Ok((server, state, address))
    }

    pub(crate) async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.commands.send(Command::Stop(done)).is_ok() {
            // An error means that the server has ended already.
            let _ = stopped.await;
        }
    }

    pub(crate) async fn restart(&self) -> io::Result<()> {
        let (done, started) = oneshot::channel();
        self.commands.send(Command::Restart(done)).map_err(|_| ended())?;
        started.await.unwrap_or_else(|_| Err(ended()))
    }
}

fn ended() -> io::Error {
    io::Error::other("the embedded issuer's thread has ended")
}

impl Drop for Server {
    fn drop(&mut self) {
        // The thread ends when all senders are dropped.
        self.commands = mpsc::unbounded_channel().0;
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            // Even if the thread has panicked, it has ended.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

async fn run(
    listener: TcpListener,
    address: SocketAddr,
    state: Arc<State>,
    mut inbox: mpsc::UnboundedReceiver<Command>,
) {
    let mut listener = listener;
    loop {
        state.set_running(true);
        let Some(done) = serve(&listener, &state, &mut inbox).await else { return };
        state.set_running(false);
        drop(listener);
        // Bound and not listening: connections are refused, and the system doesn't assign the port to
        // others.
        let mut place = reserve(address).ok();
        let _ = done.send(());
        listener = loop {
            match inbox.recv().await {
                None => return,
                Some(Command::Stop(done)) => drop(done.send(())),
                Some(Command::Restart(done)) => {
                    let listening = place.take().map_or_else(|| reserve(address), Ok);
                    match listening.and_then(|socket| socket.listen(1_024)) {
                        Ok(listener) => {
                            state.set_running(true);
                            let _ = done.send(Ok(()));
                            break listener;
                        }
                        Err(error) => drop(done.send(Err(error))),
                    }
                }
            }
        };
    }
}

fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Serves until stopped; `None` if the handle was dropped. Open connections end with it.
async fn serve(
    listener: &TcpListener,
    state: &Arc<State>,
    inbox: &mut mpsc::UnboundedReceiver<Command>,
) -> Option<oneshot::Sender<()>> {
    let mut connections = JoinSet::new();
    let stopped = loop {
        tokio::select! {
            command = inbox.recv() => match command {
                None => break None,
                Some(Command::Stop(done)) => break Some(done),
                Some(Command::Restart(done)) => drop(done.send(Ok(()))),
            },
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(stream, Arc::clone(state)))),
                // A temporary error, such as too many open files, must not cause a busy loop.
                Err(_) => sleep(AFTER_REFUSAL).await,
            },
            Some(_) = connections.join_next() => {}
        }
    };
    connections.shutdown().await;
    stopped
}

async fn connection(stream: TcpStream, state: Arc<State>) {
    // Without this, small bodies would wait for the acknowledgement of the head.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| Box::pin(respond(Arc::clone(&state), request)));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let served = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    let stream = connection.into_parts().io.into_inner();
    if served.is_err_and(|error| error.is_user()) {
        // With a linger of zero, closing sends a reset.
        let _ = stream.set_zero_linger();
    }
}

/// The service's error for a connection that is to be reset.
#[derive(Debug, thiserror::Error)]
#[error("the connection is to be reset")]
struct Reset;

async fn respond(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Reset> {
    let (head, body) = request.into_parts();
    // A body that breaks off or is too long ends the connection.
    let body = Limited::new(body, MAX_REQUEST_BYTES).collect().await.map_err(|_| Reset)?;
    match answer(&state, Request::from_parts(head, body.to_bytes())).await {
        Answer::Reset => Err(Reset),
        Answer::Response(response, delivery) => {
            Ok(response.map(|bytes| AnswerBody::new(bytes, delivery)))
        }
    }
}
