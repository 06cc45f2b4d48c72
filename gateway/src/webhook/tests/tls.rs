//! The stage over HTTPS: who is trusted, and HTTP/2 where both sides speak it.
//!
//! `localhost.crt` is signed by itself, for these tests only, and ends in a hundred years.

use hyper::Response;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::net::TcpListener;

use super::http::{start, until};
use super::*;

fn certificate() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(include_bytes!("localhost.crt")).unwrap()
}

/// A TLS server that speaks `protocols` and keeps the version and number of what it was asked.
async fn serve(protocols: &[&[u8]]) -> (String, watch::Receiver<Vec<hyper::Version>>) {
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("localhost.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate()], key)
        .unwrap();
    tls.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!(
        "https://localhost:{}/hooks",
        listener.local_addr().unwrap().port()
    );
    let (keep, seen) = watch::channel(Vec::new());
    let keep = Arc::new(keep);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (keep, acceptor) = (keep.clone(), acceptor.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service = service_fn(|request: Request<hyper::body::Incoming>| {
                    keep.send_modify(|all| all.push(request.version()));
                    async {
                        Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
                    }
                });
                let server = auto::Builder::new(TokioExecutor::new());
                server
                    .serve_connection(TokioIo::new(stream), service)
                    .await
                    .ok();
            });
        }
    });
    (url, seen)
}

#[tokio::test]
async fn https_speaks_what_the_server_speaks() {
    for (protocols, version) in [
        (&[&b"h2"[..], b"http/1.1"][..], hyper::Version::HTTP_2),
        (&[&b"http/1.1"[..]][..], hyper::Version::HTTP_11),
    ] {
        let (url, seen) = serve(protocols).await;
        let log = TestLog::new();
        let mut config = config(vec![endpoint(0, &url, None)]);
        config.allow_http = false;
        config.allow_private.push("::1/128".parse().unwrap());
        config.extra_roots = vec![certificate()];
        let (stopper, webhooks, stage) = start(&log, &config);
        log.publish(0, 3);
        until(&webhooks, |view| view.cursor == 3 && view.in_flight == 0).await;
        stopper.stop();
        stage.await.unwrap();
        assert_eq!(*seen.borrow(), [version; 3]);
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_gets_nothing() {
    let (url, seen) = serve(&[b"http/1.1"]).await;
    let log = TestLog::new();
    let (stopper, webhooks, stage) = start(&log, &config(vec![endpoint(0, &url, None)]));
    log.publish(0, 1);
    let view = until(&webhooks, |view| view.last_error.is_some()).await;
    assert!(view.last_error.unwrap().1.contains("certificate"));
    stopper.stop();
    stage.await.unwrap();
    assert!(seen.borrow().is_empty());
}
