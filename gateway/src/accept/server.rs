//! The server: connections, their limits and their end.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use metrics::gauge;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::accept::patience::{Patience, Watched};
use crate::accept::{Config, Gateway, router};
use crate::metrics as names;
use crate::stop::Stop;

/// A request's head has to be there within this time, and a new connection has to begin one
/// (chosen: what load balancers give an idle connection).
const HEAD: Duration = Duration::from_secs(60);
/// A TLS handshake has to end within this time (chosen).
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Pause after a failed accept: out of file descriptors, mostly (chosen).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Octets that one connection may have read ahead: a head, or one read of a body.
const READ_MAX: usize = 128 * 1024;
/// Streams of one HTTP/2 connection (RFC 9113 §6.5.2 advises 100 or more).
const H2_STREAMS: u32 = 256;
/// Idle HTTP/2 connections are pinged this often (chosen).
const H2_PING: Duration = Duration::from_secs(20);

/// Serves the public API on `listener` until `stop`; returns when no more connections are accepted.
/// Those that are open finish their requests; each holds a guard until then.
///
/// # Errors
/// None today: a failed accept is logged and tried again.
pub async fn serve(
    config: &Config,
    gateway: Arc<Gateway>,
    listener: TcpListener,
    mut stop: Stop,
) -> io::Result<()> {
    let free = Arc::new(Semaphore::new(config.connections));
    let tls = config.tls.clone().map(TlsAcceptor::from);
    let _guard = stop.guard("http listener");
    loop {
        let accept = async {
            // The permit first: beyond the limit, connections wait in the kernel's queue.
            let permit = free
                .clone()
                .acquire_owned()
                .await
                .map_err(io::Error::other)?;
            listener.accept().await.map(|(stream, _)| (stream, permit))
        };
        let accepted = tokio::select! {
            () = stop.stopped() => return Ok(()),
            accepted = accept => accepted,
        };
        let (stream, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let guard = stop.guard("http connection");
        let (gateway, tls, stop) = (gateway.clone(), tls.clone(), stop.clone());
        tokio::spawn(async move {
            gauge!(names::HTTP_CONNECTIONS).increment(1.0);
            begin(stream, tls, gateway, stop).await;
            gauge!(names::HTTP_CONNECTIONS).decrement(1.0);
            drop((permit, guard));
        });
    }
}

async fn begin(stream: TcpStream, tls: Option<TlsAcceptor>, gateway: Arc<Gateway>, stop: Stop) {
    // Answers are written whole: waiting to fill a segment only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let Some(tls) = tls else {
        return connection(stream, gateway, stop).await;
    };
    match timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => connection(stream, gateway, stop).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake took too long"),
    }
}

pub(super) async fn connection<S>(stream: S, gateway: Arc<Gateway>, mut stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let begun = Arc::new(AtomicBool::new(false));
    let seen = begun.clone();
    let patience = Patience::new();
    let theirs = patience.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        seen.store(true, Ordering::Relaxed);
        // Only a stream needs to know; extensions cost an allocation, which single messages spare.
        if request.uri().path() == "/v1/batches" {
            request.extensions_mut().insert(theirs.clone());
        }
        // Over HTTP/1.1 the socket itself tells.
        let told = (request.version() == Version::HTTP_2).then(|| theirs.clone());
        let asking = theirs.request();
        let answer = router::answer(gateway.clone(), request);
        async move {
            let answer = answer.await;
            drop(asking);
            Ok::<_, Infallible>(match told {
                Some(patience) => answer.map(|body| body.held(&patience.answer())),
                None => answer,
            })
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(READ_MAX)
        // Who has asked may close its side and wait for the answer (RFC 9112 §9.6).
        .half_close(true)
        // Else what answers unreadable octets would never be written: they stay in the buffer.
        .pipeline_flush(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS)
        .keep_alive_interval(H2_PING);
    let serving = builder.serve_connection(
        TokioIo::new(Watched::new(stream, patience.clone())),
        service,
    );
    let mut serving = std::pin::pin!(serving);
    // hyper times a head only once it knows the protocol, which a silent peer never tells.
    let silent = async {
        sleep(HEAD).await;
        if begun.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    let served = async {
        tokio::select! {
            ended = serving.as_mut() => return ended,
            () = stop.stopped() => {}
            () = patience.idle() => {}
        }
        serving.as_mut().graceful_shutdown();
        serving.await
    };
    let ended = tokio::select! {
        ended = served => ended,
        () = silent => return,
        () = patience.lost() => {
            tracing::debug!("the client does not read its answers");
            return;
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
