//! Export: the list as CSV, page by page as the client reads it.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use tokio::sync::mpsc;

use super::csv::{guarded, write};
use super::{TEXT_MAX, unreadable};
use crate::accept::Gateway;
use crate::accept::answer::{Body, Broken};
use crate::accept::patience::Unread;
use crate::accept::problem::Problem;
use crate::message::Ids;
use crate::store::{SuppressionPage, SuppressionQuery};

/// Suppressions read at a time (chosen: about 100 KiB of text).
const PAGE: usize = 1_000;
/// The columns: first those that an import reads.
const COLUMNS: [&str; 8] = [
    "phone",
    "scope",
    "value",
    "text",
    "expires_at",
    "id",
    "source",
    "created_at",
];

/// The list as a body: one page waits while another is written.
pub(crate) struct Pages {
    pages: mpsc::Receiver<Result<Bytes, Broken>>,
    /// Over HTTP/2: what tells that they are taken.
    unread: Option<Unread>,
}

impl Pages {
    /// The same pages, whose octets tell when they are gone.
    pub(crate) fn held(self, unread: Unread) -> Self {
        Self {
            unread: Some(unread),
            ..self
        }
    }

    /// The next page; `None` at the end. An error ends the connection: a list that is cut short must
    /// not look whole.
    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Broken>>> {
        let page = self.pages.poll_recv(context);
        let unread = self.unread.as_ref();
        page.map(|page| match (page, unread) {
            (Some(Ok(page)), Some(unread)) => Some(Ok(unread.hold(page))),
            (page, _) => page,
        })
    }
}

/// Answers `GET /v1/suppressions` with `Accept: text/csv`: everything that `query` fits.
pub(super) async fn export(
    gateway: &Arc<Gateway>,
    query: SuppressionQuery,
) -> Result<Response<Body>, Problem> {
    let permit = super::stream(gateway)?;
    let mut query = SuppressionQuery {
        limit: PAGE,
        ..query
    };
    // Read before it is answered: what cannot be read is a status.
    let read = gateway.store.suppressions(query.clone()).await;
    let mut page = read.ok_or_else(unreadable)?;
    let (sender, pages) = mpsc::channel(1);
    let gateway = gateway.clone();
    tokio::spawn(async move {
        let _permit = permit;
        let mut stop = gateway.stop.clone();
        let mut text = Vec::new();
        write(&mut text, &COLUMNS);
        loop {
            render(&mut text, &page, gateway.store.ids());
            let sent = tokio::select! {
                sent = sender.send(Ok(std::mem::take(&mut text).into())) => sent.is_ok(),
                () = stop.stopped() => {
                    drop(sender.send(Err(Broken)).await);
                    break;
                }
            };
            // Without a reader there is nothing to be done.
            if !sent {
                break;
            }
            query.before = match page.next {
                Some(next) => Some(next),
                None => break,
            };
            let Some(next) = gateway.store.suppressions(query.clone()).await else {
                drop(sender.send(Err(Broken)).await);
                break;
            };
            page = next;
        }
    });
    let pages = Pages {
        pages,
        unread: None,
    };
    let mut response = Response::new(Body::Pages(pages));
    let media = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
    response.headers_mut().insert(CONTENT_TYPE, media);
    Ok(response)
}

fn render(out: &mut Vec<u8>, page: &SuppressionPage, ids: Ids) {
    for one in &page.suppressions {
        let (key, cause) = (&one.key, &one.cause);
        let end = cause.text.char_indices().nth(TEXT_MAX);
        let text = end.map_or(&*cause.text, |(end, _)| &cause.text[..end]);
        let until = one.expires_at.map(|at| at.to_string());
        write(
            out,
            &[
                &key.phone.to_string(),
                key.scope.kind(),
                &guarded(key.scope.value()),
                &guarded(text),
                until.as_deref().unwrap_or_default(),
                &ids.suppression(one.id).to_string(),
                cause.source.name(),
                &one.created_at.to_string(),
            ],
        );
    }
}
