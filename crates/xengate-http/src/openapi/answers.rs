//! What operations answer when they succeed: bodies and the headers that go with them.

use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::schema::ObjectBuilder;
use utoipa::openapi::{Ref, RefOr, Response, ResponseBuilder};

use crate::openapi::failures::Failure;
use crate::openapi::parts::Parts;
use crate::openapi::shapes::{Shape, described, formatted, integer, string};

/// A response with a JSON body, or none, and the headers that every response has.
pub(crate) fn answer(parts: &mut Parts, description: &str, body: Option<Shape>) -> ResponseBuilder {
    with_media(parts, description, body.map(|body| ("application/json", body)))
}

/// The same with a body of any media type.
pub(crate) fn with_media(
    parts: &mut Parts,
    description: &str,
    body: Option<(&str, Shape)>,
) -> ResponseBuilder {
    let response = ResponseBuilder::new()
        .description(description)
        .header_ref("X-Request-Id", request_id(parts));
    match body {
        Some((media, shape)) => {
            response.content(media, ContentBuilder::new().schema(Some(shape)).build())
        }
        None => response,
    }
}

/// A page of a list, in every format that there is, and the headers that go with it.
pub(crate) fn page(parts: &mut Parts, description: &str, body: Shape) -> ResponseBuilder {
    let text = |description| {
        let text = described(string(), description);
        ContentBuilder::new().schema(Some(text)).build()
    };
    let next = "The next page, `<?…>; rel=\"next\"`, relative to this one; absent on the last.";
    let next = parts.header("Link", string(), next);
    let total = parts.header("Xen-Total", integer(), "How many objects there are on all pages.");
    let partial = "Names the backends (comma-separated) that the list leaves out because they \
                   cannot be read now. Absent when there are none.";
    let partial = parts.header("Xen-Partial", string(), partial);
    answer(parts, description, Some(body))
        .content("application/x-ndjson", text("A line for each object: its record as JSON."))
        .content("text/csv", text("A header row and a row for each object (RFC 4180)."))
        .content("text/plain", text("A table for eyes; its form may change."))
        .header_ref("Link", next)
        .header_ref("Xen-Total", total)
        .header_ref("Xen-Partial", partial)
}

/// The page of a list that can be printed as xm prints it.
pub(crate) fn printed(page: ResponseBuilder) -> ResponseBuilder {
    let text = "With `view`, what xm prints, byte for byte; that has no tag, `Link` or `Xen-Total`. \
                Else a table for eyes, whose form may change.";
    let text = ContentBuilder::new().schema(Some(described(string(), text))).build();
    page.content("text/plain", text)
}

fn request_id(parts: &mut Parts) -> Ref {
    let text = "Names the request in the gateway's log; the client's own when it sent one.";
    parts.header("X-Request-Id", string(), text)
}

/// How long to wait, in seconds.
pub(crate) fn retry_after(parts: &mut Parts) -> Ref {
    parts.header("Retry-After", integer(), "Seconds to wait before the next try.")
}

/// The path of what was made.
pub(crate) fn location(parts: &mut Parts) -> Ref {
    parts.header("Location", formatted("uri-reference"), "The path of what was made.")
}

/// The entity tag of the body.
pub(crate) fn etag(parts: &mut Parts) -> Ref {
    parts.header("ETag", string(), "Changes when the body does; send it back as If-None-Match.")
}

/// The headers that tell which version an answer is.
pub(crate) fn versions(parts: &mut Parts, response: ResponseBuilder) -> ResponseBuilder {
    let response = response.header_ref("ETag", etag(parts)).header_ref("Vary", vary(parts));
    revision(parts, response)
}

/// The header that tells how far the mirrors had come.
pub(crate) fn revision(parts: &mut Parts, response: ResponseBuilder) -> ResponseBuilder {
    let text = "How far the mirrors had come: the answer shows everything up to it. Send it as \
                `min_revision` to read no less.";
    response.header_ref("Xen-Revision", parts.header("Xen-Revision", string(), text))
}

/// What the form of an answer depends on.
pub(crate) fn vary(parts: &mut Parts) -> Ref {
    parts.header("Vary", string(), "What of a request the form of the answer depends on.")
}

/// 304: the client has it.
pub(crate) fn not_modified(parts: &mut Parts) -> (u16, RefOr<Response>) {
    let response = parts.response("NotModified", |parts| {
        let same = answer(parts, "`If-None-Match` names what would be answered.", None);
        let same = versions(parts, same);
        freshness(parts, same).build()
    });
    (304, response)
}

/// How long the gateway waited for the task, as far as the client asked for it.
pub(crate) fn preference_applied(parts: &mut Parts) -> Ref {
    let text = "The wait that was kept to, `wait=N`; absent when none was asked for.";
    parts.header("Preference-Applied", string(), text)
}

/// The two headers that tell how fresh a read is.
pub(crate) fn freshness(parts: &mut Parts, response: ResponseBuilder) -> ResponseBuilder {
    let stale = "Names the backends (comma-separated) whose records may be out of date, because \
                 the gateway cannot follow them now. Absent when all are live.";
    let age = "Seconds since the oldest of the records was known to be right. Without Xen-Stale it \
               is of a xend, which is asked now and then.";
    let stale = parts.header("Xen-Stale", string(), stale);
    let age = parts.header("Age", integer(), age);
    response.header_ref("Xen-Stale", stale).header_ref("Age", age)
}

/// The header of a write that tells whether reads show it yet.
pub(crate) fn pending(parts: &mut Parts, response: ResponseBuilder) -> ResponseBuilder {
    let shape = ObjectBuilder::new()
        .schema_type(utoipa::openapi::Type::String)
        .enum_values(Some(["true"]))
        .into();
    let text = "The change is made, and reads may not show it yet. Absent when they do.";
    let pending = parts.header("Xen-Revision-Pending", shape, text);
    revision(parts, response).header_ref("Xen-Revision-Pending", pending)
}

/// The header of a change that tells what the backend took and ignored.
pub(crate) fn ignored(parts: &mut Parts, response: ResponseBuilder) -> ResponseBuilder {
    let shape = ObjectBuilder::new().schema_type(utoipa::openapi::Type::String).into();
    let text = "Fields that the backend took and shows otherwise than asked for, with commas \
                between them: it has ignored them, or done something else. Absent when there are none.";
    let ignored = parts.header("Xen-Ignored", shape, text);
    response.header_ref("Xen-Ignored", ignored)
}

/// The responses of an operation: its success, and its failures.
pub(crate) fn with(
    parts: &mut Parts,
    success: (u16, impl Into<RefOr<Response>>),
    failures: &[Failure],
) -> Vec<(u16, RefOr<Response>)> {
    let failures = failures.iter().map(|failure| failure.response(parts));
    std::iter::once((success.0, success.1.into())).chain(failures).collect()
}
