//! `[credentials.…]` and `[keys.…]`: secrets, by where they are to be found.

use std::collections::BTreeSet;

use crate::manifest::reader::Fields;
use crate::manifest::{ClientKey, Credential, Environment, SecretSource};

/// `env = "NAME"` or `file = "path"`: exactly one of them.
fn secret_source(fields: &Fields) -> Option<SecretSource> {
    match (fields.string("env"), fields.string("file")) {
        (Some(name), None) => Some(SecretSource::Variable(name.value)),
        (None, Some(path)) => Some(SecretSource::File(path.value.into())),
        _ => {
            let hint = "a secret itself never stands in the manifest";
            let message = format!("[{}] needs either `env` or `file`", fields.name);
            fields.problem(fields.line, message, Some(hint));
            None
        }
    }
}

pub(super) fn credential(fields: Fields, environment: &Environment) -> Option<Credential> {
    let source = secret_source(&fields);
    let hosts: BTreeSet<_> = fields
        .strings("hosts")
        .into_iter()
        .map(|at| at.value.to_ascii_lowercase())
        .collect();
    if hosts.is_empty() {
        let message = format!("[{}] is bound to no host", fields.name);
        fields.problem(
            fields.line,
            message,
            Some("name them: hosts = [\"api.openai.com\"]"),
        );
    }
    let secret = source.as_ref().and_then(|source| {
        environment.secret(source).unwrap_or_else(|message| {
            fields.problem(fields.line_of("file"), message, None);
            None
        })
    });
    if secret
        .as_ref()
        .is_some_and(|s| !s.expose().bytes().all(|b| (0x21..0x7f).contains(&b)))
    {
        let message = format!(
            "the secret of [{}] holds white space or control characters",
            fields.name
        );
        fields.problem(fields.line, message, None);
    }
    fields.done();
    Some(Credential {
        source: source?,
        secret,
        hosts,
    })
}

pub(super) fn client_key(
    name: String,
    fields: Fields,
    environment: &Environment,
) -> Option<ClientKey> {
    let source = secret_source(&fields);
    let secret = source
        .as_ref()
        .and_then(|source| match environment.secret(source) {
            Ok(Some(secret)) => Some(secret),
            Ok(None) => {
                let message =
                    format!("the key \"{name}\" is not there: {source} is not set or empty");
                fields.problem(fields.line, message, None);
                None
            }
            Err(message) => {
                fields.problem(fields.line_of("file"), message, None);
                None
            }
        });
    fields.done();
    Some(ClientKey {
        name,
        source: source?,
        secret: secret?,
    })
}
