//! The message that `probe` sends: true in form, and unmistakably no payment.

use super::payment::Payment;
use super::timestamp::Timestamp;
use super::value::{Amount, Currency, PayMethod, Settlement, TransactionResult};
use super::words::InvalidValue;

/// What its order numbers begin with.
const TEST_ORDER_PREFIX: &str = "TEST-";

impl Payment {
    /// A test payment as of `moment`. Four things keep a merchant from taking it for money: the
    /// order numbers, which nobody has, the result, which is a failure, the amount, which is
    /// nothing, and the words.
    pub fn test(app_id: &str, moment: Timestamp) -> Self {
        let number = format!("{TEST_ORDER_PREFIX}{}", moment.to_wire());
        let amount: Result<Amount, InvalidValue> = "0.00".parse();
        Self {
            app_id: app_id.to_owned(),
            pay_method: PayMethod::NewPay,
            amount: amount.expect("0.00 is an amount"),
            currency: Currency::Lak,
            newpay_order_no: number.clone(),
            order_no: number,
            subject: "TEST, not a payment".to_owned(),
            result: TransactionResult::Failure,
            trans_info: "Test of the callback URL; no payment was made".to_owned(),
            settlement: Settlement::NotSettled,
            extra: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::Value;
    use super::*;

    #[test]
    fn nobody_takes_it_for_money() {
        let payment = Payment::test("6", Timestamp::from_millis(1_700_000_000_000));
        let members = payment.members("1700000000000");
        let value = |name: &str| {
            let mut found = members.iter().filter(|member| member.name == name);
            found.next().expect("it is there").value
        };
        assert_eq!(value("transStatus"), Value::Number(1));
        assert_eq!(value("settlementStatus"), Value::Number(1));
        assert_eq!(value("orderAmt"), Value::Text("0.00"));
        assert_eq!(value("orderNo"), Value::Text("TEST-1700000000000"));
        assert_eq!(value("newpayOrderNo"), Value::Text("TEST-1700000000000"));
    }
}
