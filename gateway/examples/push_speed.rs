//! What one connection to a push service costs: `push_speed [requests] [streams] [body octets] [ms before
//! each answer]`, release, over TLS on loopback against h2's own server.
//!
//! The connection has a thread of its own, whose CPU time is read from `/proc/thread-self/schedstat`, so
//! that what the server takes does not count. The aim is 30,000 requests/s on one core (issue 3 §8):
//! 33 µs each. Making the request counts as well.
//!
//! Where the service takes its time, a request that is alone says how long its round trip is, and the run
//! how much of streams ÷ round trip a full connection reaches: the aim is 90 %.
#![expect(clippy::print_stdout, reason = "a command-line tool")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, Uri};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use trunkline::clock::Clock;
use trunkline::connect::http2::{
    Addresses, Config, Connection, Fate, Meters, Target, client_tls, connect,
};

/// Requests that go one by one, to tell the round trip.
const ALONE: u64 = 50;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let requests: u64 = arguments.next().map_or(Ok(500_000), |text| text.parse())?;
    let streams: u32 = arguments.next().map_or(Ok(1_000), |text| text.parse())?;
    let octets: usize = arguments.next().map_or(Ok(250), |text| text.parse())?;
    let latency: u64 = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let latency = Duration::from_millis(latency);
    let dir = std::env::temp_dir().join(format!("push-speed-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let ca_file = dir.join("ca.pem");
    let service = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let address = service.block_on(serve(&ca_file, streams, latency))?;
    let target = Target {
        host: address.to_string(),
        server_name: Some("push.test".to_owned()),
        tls: client_tls(Some(&ca_file), None)?,
        connect_timeout: Duration::from_secs(10),
        tcp_user_timeout: Duration::from_secs(30),
        generation: 0,
        addresses: Addresses::default(),
    };
    std::fs::remove_dir_all(&dir)?;
    let spent = std::thread::spawn(move || -> anyhow::Result<_> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let config = Config {
                headers: vec![HeaderName::from_static("apns-id")],
                max_streams: usize::try_from(streams)?,
                ..Config::default()
            };
            let (config, meters) = (Arc::new(config), Meters::new("push"));
            let mut connection = connect(&target, config, Clock::system(), meters).await?;
            let alone = Instant::now();
            drive(&mut connection, ALONE, 1, octets).await?;
            let alone = alone.elapsed() / u32::try_from(ALONE)?;
            let (start, cpu_before) = (Instant::now(), cpu()?);
            let writes = connection.writes();
            drive(&mut connection, requests, usize::MAX, octets).await?;
            let writes = connection.writes() - writes;
            Ok((start.elapsed(), cpu()? - cpu_before, writes, alone))
        })
    });
    let (elapsed, cpu, writes, alone) = spent.join().ok().context("the connection panicked")??;
    let count = f64::from(u32::try_from(requests)?);
    let cpu_each = cpu.as_secs_f64() / count;
    println!(
        "{requests} requests of {octets} octets, {streams} streams, {latency:?}: {:.0} requests/s; CPU {:.2} µs each, \
         {:.0}/s on one core; {:.1} requests in a write",
        count / elapsed.as_secs_f64(),
        cpu_each * 1e6,
        1.0 / cpu_each,
        count / f64::from(u32::try_from(writes)?),
    );
    if !latency.is_zero() {
        let most = f64::from(streams) / alone.as_secs_f64();
        println!(
            "alone a request takes {:.1} ms: {most:.0}/s at most, of which these are {:.1} %",
            alone.as_secs_f64() * 1e3,
            100.0 * count / elapsed.as_secs_f64() / most,
        );
    }
    Ok(())
}

/// CPU time of this thread: the first field of schedstat, nanoseconds (proc(5)).
fn cpu() -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_whitespace().next().context("schedstat")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}

/// Keeps so many out, as far as the window goes, until all is answered.
async fn drive(
    connection: &mut Connection,
    requests: u64,
    most: usize,
    octets: usize,
) -> anyhow::Result<()> {
    let body = Bytes::from(vec![b'x'; octets]);
    let shared = shared_headers()?;
    let (mut next, mut answered) = (0, 0);
    while answered < requests {
        let out = usize::try_from(next - answered)?;
        for _ in 0..connection.room().min(most.saturating_sub(out)) {
            if next == requests {
                break;
            }
            connection.send(next, request(next, &shared)?, body.clone());
            next += 1;
        }
        connection.turn().await;
        let news = connection.news();
        news.limit_changed = false;
        if let Some(why) = &news.closed {
            bail!("closed: {why}");
        }
        for (token, fate) in news.fates.drain(..) {
            let accepted = matches!(&fate, Fate::Answered(answered) if answered.status == 200);
            ensure!(accepted, "{token}: {fate:?}");
            answered += 1;
        }
    }
    Ok(())
}

/// What is the same in all requests of an app.
fn shared_headers() -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(8);
    let mut authorization = HeaderValue::from_str(&format!("bearer {}", "e".repeat(200)))?;
    authorization.set_sensitive(true);
    headers.insert("authorization", authorization);
    headers.insert("apns-topic", HeaderValue::from_static("com.example.app"));
    headers.insert("apns-push-type", HeaderValue::from_static("alert"));
    headers.insert("apns-priority", HeaderValue::from_static("10"));
    Ok(headers)
}

/// As one to APNs: the token in the path, an id and an expiration of its own.
fn request(token: u64, shared: &HeaderMap) -> anyhow::Result<Request<()>> {
    let path = format!("/3/device/{token:064x}");
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTPS);
    uri.authority = Some(Authority::from_static("api.push.test"));
    uri.path_and_query = Some(PathAndQuery::from_maybe_shared(Bytes::from(path))?);
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_parts(uri)?;
    *request.headers_mut() = shared.clone();
    for (name, value) in [
        ("apns-id", format!("00000000-0000-7000-8000-{token:012x}")),
        ("apns-expiration", format!("{}", 1_800_000_000 + token)),
    ] {
        let mut value = HeaderValue::from_maybe_shared(Bytes::from(value))?;
        value.set_sensitive(true);
        request
            .headers_mut()
            .insert(HeaderName::from_static(name), value);
    }
    Ok(request)
}

/// A service that accepts everything.
async fn serve(ca_file: &Path, streams: u32, latency: Duration) -> anyhow::Result<SocketAddr> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    std::fs::write(ca_file, ca.pem())?;
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec!["push.test".to_owned()])?.signed_by(&key, &ca)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)?;
    server.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(acceptor.clone(), stream, streams, latency));
        }
    });
    Ok(address)
}

/// When to answer what, and where.
type Asked = (Instant, Request<RecvStream>, SendResponse<Bytes>);

async fn answer(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    streams: u32,
    latency: Duration,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let mut h2 = h2::server::Builder::new()
        .max_concurrent_streams(streams)
        .initial_connection_window_size(16 << 20)
        .handshake::<_, Bytes>(stream)
        .await?;
    let (later, mut due) = mpsc::channel::<Asked>(usize::try_from(streams)?);
    // One after the other: all take the same time.
    tokio::spawn(async move {
        while let Some((at, mut request, mut answers)) = due.recv().await {
            if !latency.is_zero() {
                tokio::time::sleep_until(at.into()).await;
            }
            let id = request.headers_mut().remove("apns-id");
            let body = request.body_mut();
            while let Some(Ok(octets)) = body.data().await {
                // What was received can be released.
                drop(body.flow_control().release_capacity(octets.len()));
            }
            let mut response = Response::new(());
            if let Some(id) = id {
                response.headers_mut().insert("apns-id", id);
            }
            // A client that is gone needs none.
            drop(answers.send_response(response, true));
        }
    });
    while let Some(accepted) = h2.accept().await {
        let (request, answers) = accepted?;
        // There are never more than there may be streams.
        later.try_send((Instant::now() + latency, request, answers))?;
    }
    Ok(())
}
