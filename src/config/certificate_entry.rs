//! `[[client_certificate]]` of the keys file: what an app shows to merchants' servers that ask for a certificate.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{ConfigFault, Problem};
use super::keys_file::KeysFile;
use super::secret_file;
use super::suggestion::nearest;
use crate::delivery::transport::ClientCertificates;

const FIELDS: [&str; 3] = ["app_id", "certificate_file", "private_key_file"];

/// Reads one entry of `file`, whose content is `text`, into `certificates`.
pub(super) fn read(
    file: &KeysFile,
    text: &str,
    offset: usize,
    entry: &DeValue<'_>,
    certificates: &mut ClientCertificates,
) -> Result<(), ConfigFault> {
    let invalid = |offset, problem: String| {
        let subject = Some("client_certificate".to_owned());
        file.fault_at(text, offset, subject, Problem::Invalid(problem))
    };
    let DeValue::Table(fields) = entry else {
        let problem = "write [[client_certificate]] and its fields below it";
        return Err(invalid(offset, problem.to_owned()));
    };
    if let Some((name, _)) = fields
        .iter()
        .find(|(name, _)| !FIELDS.contains(&name.get_ref().as_ref()))
    {
        let problem = Problem::Unknown {
            what: "field".to_owned(),
            suggestion: nearest(name.get_ref(), FIELDS.into_iter()),
        };
        let subject = Some("client_certificate".to_owned());
        return Err(file.fault_at(text, name.span().start, subject, problem));
    }
    let field = |name| field(fields, name).map_err(|problem| invalid(offset, problem));
    let (app_id, chain, key) = (field(FIELDS[0])?, field(FIELDS[1])?, field(FIELDS[2])?);
    if certificates.has(app_id) {
        let problem = format!("app {app_id:?} has two client certificates; keep one");
        return Err(invalid(offset, problem));
    }
    certified(file, app_id, chain, key, certificates).map_err(|problem| invalid(offset, problem))
}

/// A text that has to be there.
fn field<'a>(fields: &'a DeTable<'_>, name: &str) -> Result<&'a str, String> {
    let text = fields.get(name).map(Spanned::get_ref);
    match text.and_then(DeValue::as_str) {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(format!("no {name}; add {name} = \"...\"")),
    }
}

fn certified(
    file: &KeysFile,
    app_id: &str,
    chain: &str,
    key: &str,
    certificates: &mut ClientCertificates,
) -> Result<(), String> {
    if [chain, key].iter().any(|name| name.contains("-----")) {
        // Perhaps the key itself, so it must not be shown as a path that can't be opened.
        return Err(
            "not a file name; put certificate and key into files and name these".to_owned(),
        );
    }
    let (chain_path, _) = file.private_key(chain);
    let pem = std::fs::read(&chain_path)
        .map_err(|error| format!("{}: {error}; name a PEM file", chain_path.display()))?;
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(secret_file::without_mark(&pem)).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| {
        let shown = chain_path.display();
        format!("{shown} has no certificate in it; expected PEM with BEGIN CERTIFICATE")
    })?;
    let (key_path, access) = file.private_key(key);
    let shown = key_path.display();
    let pem =
        secret_file::read(&key_path, access).map_err(|problem| format!("{shown}: {problem}"))?;
    let key = PrivateKeyDer::from_pem_slice(&pem)
        // Its message may quote the file, and that is a key.
        .map_err(|_| format!("{shown}: no PEM private key found, not encrypted"))?;
    certificates.add(app_id, chain, key).map_err(|_| {
        format!(
            "{shown} is not the key of the first certificate in {}",
            chain_path.display()
        )
    })
}
