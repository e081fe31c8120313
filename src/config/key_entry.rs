//! One `[[key]]` of the keys file.

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::value::Datetime;

use super::fault::{ConfigFault, Problem};
use super::keys_file::KeysFile;
use super::reader::choice;
use super::secret_file;
use super::settings::SigningSettings;
use super::suggestion::nearest;
use crate::domain::{Algorithm, InvalidKey, KeyEntry, Secret, SigningKey, Timestamp};

const FIELDS: [&str; 6] = [
    "app_id",
    "id",
    "secret",
    "private_key_file",
    "algorithm",
    "not_before",
];

/// Reads the fields of one entry, and collects what is wrong with them.
pub(super) struct KeyReader<'a> {
    file: &'a KeysFile,
    text: &'a str,
    fields: &'a DeTable<'a>,
    /// Where the entry begins.
    offset: usize,
    /// Which entry it is, in words.
    subject: String,
    faults: Vec<ConfigFault>,
}

impl<'a> KeyReader<'a> {
    /// A reader of `fields`, the `number`th entry of `file`, at `offset` in its `text`.
    pub(super) fn new(
        file: &'a KeysFile,
        text: &'a str,
        number: usize,
        fields: &'a DeTable<'a>,
        offset: usize,
    ) -> Self {
        let names: Vec<String> = ["app_id", "id"]
            .iter()
            .filter_map(|name| {
                Some(format!(
                    "{name} {:?}",
                    fields.get(*name)?.get_ref().as_str()?
                ))
            })
            .collect();
        let subject = match names.is_empty() {
            true => format!("key {number}"),
            false => format!("key {number} ({})", names.join(", ")),
        };
        Self {
            file,
            text,
            fields,
            offset,
            subject,
            faults: Vec::new(),
        }
    }

    /// The entry, or all that is wrong with it.
    pub(super) fn read(mut self, signing: &SigningSettings) -> Result<KeyEntry, Vec<ConfigFault>> {
        self.refuse_unknown_fields();
        let app_id = self.required("app_id");
        let id = self.required("id");
        let not_before = self.not_before();
        let key = self.key(signing);
        match (app_id, id, not_before, key) {
            (Some(app_id), Some(id), Some(not_before), Some(key)) if self.faults.is_empty() => {
                Ok(KeyEntry {
                    app_id: app_id.to_owned(),
                    id: id.to_owned(),
                    not_before,
                    key,
                })
            }
            _ => Err(self.faults),
        }
    }

    /// The name of an unknown field is not quoted: a secret may stand where the name should.
    fn refuse_unknown_fields(&mut self) {
        let fields = self.fields;
        for (name, _) in fields {
            if !FIELDS.contains(&name.get_ref().as_ref()) {
                let problem = Problem::Unknown {
                    what: "field".to_owned(),
                    suggestion: nearest(name.get_ref(), FIELDS.into_iter()),
                };
                self.fault_at(name.span().start, problem);
            }
        }
    }

    /// A text that has to be there and not to be empty.
    fn required(&mut self, name: &'static str) -> Option<&'a str> {
        let missing = !self.fields.contains_key(name);
        match self.text(name)? {
            None if missing => self.invalid(None, format!("no {name}; add {name} = \"...\"")),
            Some("") => self.invalid(Some(name), format!("{name} is empty; fill it in")),
            text => text,
        }
    }

    /// A text that may be missing; the outer `None` says that it is something else.
    fn text(&mut self, name: &'static str) -> Option<Option<&'a str>> {
        let Some(value) = self.fields.get(name) else {
            return Some(None);
        };
        if let Some(text) = value.get_ref().as_str() {
            return Some(Some(text));
        }
        let found = value.get_ref().type_str();
        self.invalid(
            Some(name),
            format!("{name} is of type {found}; write a text in quotes"),
        )
    }

    fn not_before(&mut self) -> Option<Option<Timestamp>> {
        let name = "not_before";
        let Some(value) = self.fields.get(name) else {
            return Some(None);
        };
        let moment = value.get_ref().as_datetime().and_then(timestamp);
        if moment.is_none() {
            let problem = "not_before is not a moment; write date, time and offset without quotes, \
                           for instance 2026-11-01T00:00:00Z";
            return self.invalid(Some(name), problem.to_owned());
        }
        Some(moment)
    }

    fn key(&mut self, signing: &SigningSettings) -> Option<SigningKey> {
        let algorithm = self.algorithm(signing);
        let secret = self.text("secret");
        let private_key_file = self.text("private_key_file");
        let (algorithm, secret, private_key_file) = (algorithm?, secret?, private_key_file?);
        match (secret, private_key_file, algorithm) {
            (Some(_), Some(_), _) => self.invalid(
                Some("private_key_file"),
                "both secret and private_key_file; keep one".to_owned(),
            ),
            (None, None, _) => self.invalid(
                None,
                "neither secret nor private_key_file; add the app's secret".to_owned(),
            ),
            (Some(_), None, Algorithm::RsaSha256) => self.invalid(
                Some("secret"),
                "rsa-sha256 needs private_key_file; name it instead of the secret, \
                 or add algorithm = \"hmac-sha256\""
                    .to_owned(),
            ),
            (None, Some(_), Algorithm::HmacSha256) => self.invalid(
                Some("private_key_file"),
                "hmac-sha256 needs a secret; give it instead of the file, \
                 or add algorithm = \"rsa-sha256\""
                    .to_owned(),
            ),
            (None, Some(_), Algorithm::RsaSha256) if signing.convention.append_key => self.invalid(
                Some("private_key_file"),
                "an RSA key has no secret that signing.append_key could append; \
                 set append_key = false"
                    .to_owned(),
            ),
            (Some(secret), None, Algorithm::HmacSha256) => {
                let secret = Secret::new(secret.to_owned());
                let key = SigningKey::hmac(secret).map_err(|error| error.to_string());
                self.usable("secret", key)
            }
            (None, Some(file), Algorithm::RsaSha256) => self.rsa(file),
        }
    }

    fn algorithm(&mut self, signing: &SigningSettings) -> Option<Algorithm> {
        let name = "algorithm";
        match self.text(name)? {
            None => Some(signing.algorithm),
            Some(text) => match choice(text) {
                Ok(algorithm) => Some(algorithm),
                Err(_) => self.invalid(
                    Some(name),
                    "unknown algorithm; write \"hmac-sha256\" or \"rsa-sha256\"".to_owned(),
                ),
            },
        }
    }

    fn rsa(&mut self, file: &str) -> Option<SigningKey> {
        if file.is_empty() || file.contains("-----") || file.contains('\n') {
            // Perhaps the key itself, so it must not be shown as a path that can't be opened.
            return self.invalid(
                Some("private_key_file"),
                "not a file name; put the PEM key into a file of its own and name that".to_owned(),
            );
        }
        let (path, access) = self.file.private_key(file);
        let shown = path.display();
        let key = secret_file::read(&path, access)
            .map_err(|problem| format!("{shown}: {problem}"))
            .and_then(|pem| {
                SigningKey::rsa_from_pem(&pem).map_err(|error| match error {
                    // Its text may quote a line of the file, and the key may be in that line.
                    InvalidKey::NotPem => format!(
                        "{shown}: no PEM private key found; expected PKCS#8 or PKCS#1, \
                         not encrypted, with BEGIN and END on lines of their own"
                    ),
                    other => format!("{shown}: {other}"),
                })
            });
        self.usable("private_key_file", key)
    }

    fn usable(
        &mut self,
        name: &'static str,
        key: Result<SigningKey, String>,
    ) -> Option<SigningKey> {
        match key {
            Ok(key) => Some(key),
            Err(problem) => self.invalid(Some(name), problem),
        }
    }

    /// Notes a fault of the field `name`, or of the entry as a whole.
    fn invalid<T>(&mut self, name: Option<&str>, problem: String) -> Option<T> {
        let field = name.and_then(|name| self.fields.get(name));
        let offset = field.map_or(self.offset, |value: &Spanned<DeValue<'_>>| {
            value.span().start
        });
        self.fault_at(offset, Problem::Invalid(problem));
        None
    }

    fn fault_at(&mut self, offset: usize, problem: Problem) {
        let subject = Some(self.subject.clone());
        let fault = self.file.fault_at(self.text, offset, subject, problem);
        self.faults.push(fault);
    }
}

/// `None` without a date, a time or an offset: then it is no moment.
fn timestamp(written: &Datetime) -> Option<Timestamp> {
    let mut moment = *written;
    moment.date?;
    moment.offset?;
    // TOML lets the seconds out, RFC 3339 does not.
    moment.time.as_mut()?.second.get_or_insert(0);
    Timestamp::parse(&moment.to_string())
}
