//! What the caller may do.

use serde_json::json;

use crate::openapi::answers;
use crate::openapi::answers::answer;
use crate::openapi::description::Description;
use crate::openapi::failures;
use crate::openapi::parts::Parts;
use crate::openapi::shapes::{Shape, array, boolean, nullable_string, object, string};

/// `GET /sessions/current/permissions`.
pub(crate) fn list(parts: &mut Parts) -> Description {
    let body = schema(parts);
    let found = answer(parts, "What the session may do, by backend.", Some(body)).build();
    Description {
        description: Some(
            "As the backends told it at login. Reads go without saying; the few that are \
             restricted, those of secrets, are tried in the caller's own session."
                .into(),
        ),
        ..Description::of(
            "Read what the session may do",
            answers::with(parts, (200, found), &failures::OF_SESSION),
        )
    }
}

fn schema(parts: &mut Parts) -> Shape {
    parts.schema("Permissions", |parts| {
        let key = parts.schema("KeyPermission", |_| {
            let key = "The key, or what it begins with and an asterisk.";
            object(
                [
                    ("call", string(), "The call that writes the key: `VM.add_to_other_config`."),
                    ("key", string(), key),
                    ("allowed", boolean(), "Whether it may be written."),
                ],
                &["call", "key", "allowed"],
            )
            .into()
        });
        let superuser = "Whether the session may do everything, as the local root may.";
        let role = "The session's strongest role, as far as its permissions show; null for none.";
        let keys = "Keys of maps for which something else holds than for the call in general.";
        let backend = parts.schema("BackendPermissions", |_| {
            object(
                [
                    ("name", string(), "The backend's name."),
                    ("is_local_superuser", boolean(), superuser),
                    ("role", nullable_string(), role),
                    ("calls", array(string()), "The calls that it may make: `VM.start`."),
                    ("keys", array(key), keys),
                ],
                &["name", "is_local_superuser", "role", "calls", "keys"],
            )
            .into()
        });
        let example = json!({"backends": [{
            "name": "london",
            "is_local_superuser": false,
            "role": "vm-operator",
            "calls": ["VM.start", "VM.clean_shutdown"],
            "keys": [{"call": "VM.add_to_other_config", "key": "folder", "allowed": true}],
        }]});
        object([("backends", array(backend), "Each backend that can be read.")], &["backends"])
            .examples([example])
            .into()
    })
}
