//! A line of NDJSON as a callback to queue.
//!
//! The members are the document's own names, plus `kind`, `callBackUrl` and `result` in words:
//! nobody has to know that the two status codes are opposite to each other.

use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

use super::callback::{Message, NewCallback};
use super::payment::Payment;
use super::refund::Refund;
use super::value::{Amount, Currency, PayMethod, Settlement, TransactionResult};
use super::words::InvalidValue;

/// Why a line is not a callback.
#[derive(Debug, Error)]
pub enum IntakeError {
    /// Not JSON, or a member is missing, unknown or of another type.
    #[error("{}", within_line(.0))]
    Json(#[from] serde_json::Error),
    /// Something else than an object; the parser would take an array for one, too.
    #[error("not a JSON object; give one callback as {{...}} on one line")]
    NotAnObject,
    /// A member of another type, or a kind that is none.
    #[error("{member} is {found}; give {wanted}")]
    Type {
        /// Which.
        member: &'static str,
        /// What stands there, as JSON.
        found: String,
        /// What belongs there.
        wanted: &'static str,
    },
    /// An amount that is none. The member has another name in each kind.
    #[error("{member}: {source}")]
    Amount {
        /// Which.
        member: &'static str,
        /// What is wrong with it.
        source: InvalidValue,
    },
    /// A value that the document does not allow.
    #[error(transparent)]
    Value(#[from] InvalidValue),
    /// A text that the queue does not take.
    #[error("{member} has {bytes} bytes; the queue takes at most {TEXT_BYTES_MAX}")]
    TooLong {
        /// Which.
        member: &'static str,
        /// How long it is.
        bytes: usize,
    },
    /// An empty text where one is needed.
    #[error("{member} is empty; give its value")]
    Empty {
        /// Which.
        member: &'static str,
    },
}

/// Bytes in one text: the rules `…_is_at_most_16384_bytes` of the schema.
const TEXT_BYTES_MAX: usize = 16 * 1024;

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    #[serde(rename_all = "camelCase")]
    Payment {
        #[serde(rename = "callBackUrl")]
        callback_url: String,
        app_id: String,
        pay_method: i64,
        #[serde(rename = "orderAmt")]
        amount: String,
        currency: String,
        newpay_order_no: String,
        order_no: String,
        #[serde(default)]
        subject: String,
        result: String,
        #[serde(default)]
        trans_info: String,
        settlement_status: i64,
        #[serde(default)]
        extra: String,
    },
    #[serde(rename_all = "camelCase")]
    Refund {
        #[serde(rename = "callBackUrl")]
        callback_url: String,
        app_id: String,
        pay_method: i64,
        #[serde(rename = "refundOrderAmt")]
        amount: String,
        currency: String,
        newpay_order_no: String,
        newpay_refund_order_no: String,
        order_no: String,
        refund_order_no: String,
        result: String,
        #[serde(default)]
        trans_info: String,
    },
}

impl NewCallback {
    /// Reads one line.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it.
    pub fn from_json_line(line: &str) -> Result<Self, IntakeError> {
        if !line.trim_ascii_start().starts_with('{') {
            return Err(IntakeError::NotAnObject);
        }
        let line: Line = serde_json::from_str(line).map_err(|error| misfit(line, error))?;
        let (callback_url, message) = match line {
            Line::Payment {
                callback_url,
                app_id,
                pay_method,
                amount,
                currency,
                newpay_order_no,
                order_no,
                subject,
                result,
                trans_info,
                settlement_status,
                extra,
            } => {
                let message = Message::Payment(Payment {
                    app_id: not_empty("appId", app_id)?,
                    pay_method: PayMethod::try_from(pay_method)?,
                    amount: amount_of("orderAmt", &amount)?,
                    currency: currency.parse::<Currency>()?,
                    newpay_order_no: not_empty("newpayOrderNo", newpay_order_no)?,
                    order_no: not_empty("orderNo", order_no)?,
                    subject: not_long("subject", subject)?,
                    result: result.parse::<TransactionResult>()?,
                    trans_info: not_long("transInfo", trans_info)?,
                    settlement: Settlement::try_from(settlement_status)?,
                    extra: not_long("extra", extra)?,
                });
                (callback_url, message)
            }
            Line::Refund {
                callback_url,
                app_id,
                pay_method,
                amount,
                currency,
                newpay_order_no,
                newpay_refund_order_no,
                order_no,
                refund_order_no,
                result,
                trans_info,
            } => {
                let message = Message::Refund(Refund {
                    app_id: not_empty("appId", app_id)?,
                    pay_method: PayMethod::try_from(pay_method)?,
                    amount: amount_of("refundOrderAmt", &amount)?,
                    currency: currency.parse::<Currency>()?,
                    newpay_order_no: not_empty("newpayOrderNo", newpay_order_no)?,
                    newpay_refund_order_no: not_empty(
                        "newpayRefundOrderNo",
                        newpay_refund_order_no,
                    )?,
                    order_no: not_empty("orderNo", order_no)?,
                    refund_order_no: not_empty("refundOrderNo", refund_order_no)?,
                    result: result.parse::<TransactionResult>()?,
                    trans_info: not_long("transInfo", trans_info)?,
                });
                (callback_url, message)
            }
        };
        Ok(Self {
            callback_url,
            message,
        })
    }
}

const TEXTS: [&str; 13] = [
    "callBackUrl",
    "appId",
    "orderAmt",
    "refundOrderAmt",
    "currency",
    "newpayOrderNo",
    "newpayRefundOrderNo",
    "orderNo",
    "refundOrderNo",
    "subject",
    "result",
    "transInfo",
    "extra",
];

const NUMBERS: [&str; 2] = ["payMethod", "settlementStatus"];

/// How much of a misfit is shown, in characters.
const FOUND_SHOWN_MAX: usize = 60;

/// It is always line 1 to the parser, while people count those of their file.
fn within_line(error: &serde_json::Error) -> String {
    error
        .to_string()
        .replace(" at line 1 column ", " at column ")
}

/// The parser of a tagged enum knows no name for a member of the wrong type, so it is looked up.
fn misfit(line: &str, error: serde_json::Error) -> IntakeError {
    let members: Map<String, Value> = serde_json::from_str(line).unwrap_or_default();
    let misfit = |names: &[&'static str], fits: fn(&Value) -> bool, wanted| {
        names.iter().find_map(|&member| {
            let found = members.get(member).filter(|value| !fits(value))?;
            let found = found.to_string().chars().take(FOUND_SHOWN_MAX).collect();
            Some(IntakeError::Type {
                member,
                found,
                wanted,
            })
        })
    };
    let is_kind = |kind: &Value| kind == "payment" || kind == "refund";
    misfit(&["kind"], is_kind, "\"payment\" or \"refund\"")
        .or_else(|| misfit(&TEXTS, Value::is_string, "a text in double quotes"))
        .or_else(|| misfit(&NUMBERS, Value::is_i64, "a whole number without quotes"))
        .unwrap_or(IntakeError::Json(error))
}

fn amount_of(member: &'static str, text: &str) -> Result<Amount, IntakeError> {
    text.parse()
        .map_err(|source| IntakeError::Amount { member, source })
}

fn not_empty(member: &'static str, text: String) -> Result<String, IntakeError> {
    if text.is_empty() {
        Err(IntakeError::Empty { member })
    } else {
        not_long(member, text)
    }
}

fn not_long(member: &'static str, text: String) -> Result<String, IntakeError> {
    match text.len() {
        0..=TEXT_BYTES_MAX => Ok(text),
        bytes => Err(IntakeError::TooLong { member, bytes }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYMENT: &str = r#"{"kind":"payment","callBackUrl":"https://shop.example/cb","appId":"6","payMethod":1,"orderAmt":"123.00","currency":"LAK","newpayOrderNo":"N1","orderNo":"O1","result":"success","settlementStatus":1}"#;
    const AS_ARRAY: &str = r#"["payment","https://shop.example/cb","6",1,"123.00","LAK","N1","O1","","success","",1,""]"#;
    const REFUND: &str = r#"{"kind":"refund","callBackUrl":"https://shop.example/cb","appId":"6","payMethod":4,"refundOrderAmt":"1.5","currency":"USD","newpayOrderNo":"N1","newpayRefundOrderNo":"R1","orderNo":"O1","refundOrderNo":"RO1","result":"failure","transInfo":"no"}"#;

    #[test]
    fn reads_both_kinds() {
        let payment = NewCallback::from_json_line(PAYMENT).expect("a payment");
        assert_eq!(payment.callback_url, "https://shop.example/cb");
        assert!(matches!(payment.message, Message::Payment(p) if p.extra.is_empty()));
        let refund = NewCallback::from_json_line(REFUND).expect("a refund");
        assert!(matches!(refund.message, Message::Refund(r) if r.refund_order_no == "RO1"));
    }

    #[test]
    fn names_what_is_wrong() {
        let table = [
            (
                PAYMENT.replace("\"123.00\"", "123.00"),
                "orderAmt is 123.0; give a text",
            ),
            (
                PAYMENT.replace(":1,", ":\"1\","),
                "payMethod is \"1\"; give a whole number",
            ),
            (
                PAYMENT.replace("\"123.00\"", "\"1.234\""),
                "orderAmt: amount",
            ),
            (PAYMENT.replace("LAK", "THB"), "currency"),
            (
                PAYMENT.replace("\"payMethod\":1", "\"payMethod\":2"),
                "payMethod",
            ),
            (PAYMENT.replace("\"orderNo\":\"O1\",", ""), "orderNo"),
            (PAYMENT.replace("\"O1\"", "\"\""), "orderNo is empty"),
            (
                PAYMENT.replace("\"orderNo\"", "\"orderNumber\""),
                "orderNumber",
            ),
            (PAYMENT.replace("success", "0"), "result"),
            (PAYMENT.replace("payment", "transfer"), "transfer"),
            (REFUND.replace("refundOrderAmt", "orderAmt"), "orderAmt"),
            (
                PAYMENT.replace("O1", &"O".repeat(16_385)),
                "orderNo has 16385 bytes; the queue takes at most 16384",
            ),
            (
                REFUND.replace(":\"no\"", &format!(":\"{}\"", "ສ".repeat(5_462))),
                "transInfo has 16386 bytes",
            ),
            ("[]".to_owned(), "not a JSON object"),
            ("nonsense".to_owned(), "not a JSON object"),
            (AS_ARRAY.to_owned(), "not a JSON object"),
            (format!("{PAYMENT}x"), "trailing"),
        ];
        for (line, part) in table {
            let error = NewCallback::from_json_line(&line).expect_err(&line);
            assert!(error.to_string().contains(part), "{line}: {error}");
        }
    }
}
