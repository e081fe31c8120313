//! Which texts make a signature ambiguous: held against a search for a second message.

use std::collections::BTreeSet;

use callback_dispatcher::domain::{
    Ambiguity, AmbiguousTexts, Convention, EmptyValues, Member, Value,
};
use proptest::prelude::*;
use proptest::sample::select;

use super::properties;

/// The members of each kind and which of them may be empty, in the order of signing.
const PAYMENT: &[(&str, bool)] = &[
    ("appId", false),
    ("currency", false),
    ("extra", true),
    ("newpayOrderNo", false),
    ("orderAmt", false),
    ("orderNo", false),
    ("payMethod", false),
    ("settlementStatus", false),
    ("subject", true),
    ("timestamp", false),
    ("transInfo", true),
    ("transStatus", false),
];
const REFUND: &[(&str, bool)] = &[
    ("appId", false),
    ("currency", false),
    ("newpayOrderNo", false),
    ("newpayRefundOrderNo", false),
    ("orderNo", false),
    ("payMethod", false),
    ("refundOrderAmt", false),
    ("refundOrderNo", false),
    ("timestamp", false),
    ("tranStatus", false),
    ("transInfo", true),
];

type Names = &'static [(&'static str, bool)];

fn members<'a>(names: Names, values: &'a [String]) -> Vec<Member<'a>> {
    let members = names.iter().zip(values);
    members
        .map(|((name, _), value)| Member {
            name,
            value: Value::Text(value),
        })
        .collect()
}

fn convention(empty_values: EmptyValues) -> Convention {
    Convention {
        empty_values,
        ..Convention::default()
    }
}

/// Every message of these names with this canonical form, by trying every end of every value.
/// Where empty texts are skipped, a member that may be empty may be missing.
fn messages(text: &str, names: Names, convention: &Convention) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    let mut open = vec![(0, Vec::new())];
    while let Some((at, values)) = open.pop() {
        let Some((name, may_be_empty)) = names.get(values.len()) else {
            if convention.canonical_form(&members(names, &values)) == text {
                found.insert(values);
            }
            continue;
        };
        if *may_be_empty && convention.empty_values == EmptyValues::Skip {
            let mut skipped = values.clone();
            skipped.push(String::new());
            open.push((at, skipped));
        }
        let joint = if at == 0 { "" } else { "&" };
        let Some(rest) = text[at..].strip_prefix(&format!("{joint}{name}=")) else {
            continue;
        };
        let value_at = text.len() - rest.len();
        let ends = rest.match_indices('&').map(|(end, _)| end);
        for end in ends.chain([rest.len()]) {
            let mut longer = values.clone();
            longer.push(rest[..end].to_owned());
            open.push((value_at + end, longer));
        }
    }
    found
}

/// Texts of up to three parts, most of them such as could begin a member.
fn text() -> impl Strategy<Value = String> {
    let names = PAYMENT.iter().chain(REFUND).map(|(name, _)| *name);
    let mut parts: Vec<String> = names.map(|name| format!("&{name}=")).collect();
    for part in ["&", "=", "x", "&key=", "extra=", "&Extra="] {
        parts.push(part.to_owned());
    }
    proptest::collection::vec(select(parts), 0..3).prop_map(|parts| parts.concat())
}

fn message() -> impl Strategy<Value = (Names, Vec<String>)> {
    select(vec![PAYMENT, REFUND]).prop_flat_map(|names| {
        let value = |(_, may_be_empty): &(&str, bool)| match may_be_empty {
            true => text().boxed(),
            // Few of them, or no text would be unambiguous.
            false => {
                prop_oneof![4 => Just("1".to_owned()), 1 => text().prop_map(|text| text + "1")]
                    .boxed()
            }
        };
        let values: Vec<_> = names.iter().map(value).collect();
        (Just(names), values)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..properties() })]

    #[test]
    fn a_message_is_ambiguous_just_when_another_has_its_text((names, values) in message()) {
        let convention = convention(EmptyValues::Keep);
        let signed = members(names, &values);
        let text = convention.canonical_form(&signed);
        let of_kinds = [PAYMENT, REFUND].map(|names| messages(&text, names, &convention));
        prop_assert!(of_kinds.iter().any(|found| found.contains(&values)), "{text}");
        let count: usize = of_kinds.iter().map(BTreeSet::len).sum();
        let ambiguity = Ambiguity::find(&signed, &convention);
        prop_assert_eq!(ambiguity.is_some(), count > 1, "{}\n{:?}", text, of_kinds);
    }

    /// Any text may be left out there, so a value can always have swallowed the member after it. What a
    /// receiver gets that refuses ambiguous messages is still only one.
    #[test]
    fn where_empty_texts_are_skipped_no_two_sound_messages_share_a_text((names, values) in message()) {
        let convention = convention(EmptyValues::Skip);
        let is_sound = |names, values: &Vec<String>| {
            Ambiguity::find(&members(names, values), &convention).is_none()
        };
        if !is_sound(names, &values) {
            return Ok(());
        }
        let text = convention.canonical_form(&members(names, &values));
        for kind in [PAYMENT, REFUND] {
            for other in messages(&text, kind, &convention) {
                prop_assert!(other == values || !is_sound(kind, &other), "{:?}", other);
            }
        }
    }
}

/// Names and texts, sorted by name.
type Object = Vec<(String, String)>;

/// The object that results if a member begins at each `&` that is followed by a name and for which `begins` says so;
/// `None` if its names would not be sorted.
fn reading(text: &str, begins: &[bool]) -> Option<Object> {
    let mut object = Object::new();
    for (segment, begins) in text.split('&').zip(begins.iter().cycle()) {
        match (segment.split_once('='), object.last_mut()) {
            (Some((name, value)), last) if *begins || last.is_none() => {
                object.push((name.to_owned(), value.to_owned()));
            }
            (_, last) => {
                let (_, value) = last?;
                value.push('&');
                value.push_str(segment);
            }
        }
    }
    object
        .is_sorted_by(|(a, _), (b, _)| a < b)
        .then_some(object)
}

fn ambiguity_of(object: &Object, convention: &Convention) -> Option<Ambiguity> {
    let members: Vec<Member<'_>> = object
        .iter()
        .map(|(name, value)| Member {
            name,
            value: Value::Text(value),
        })
        .collect();
    Ambiguity::find(&members, convention)
}

fn object_is_sound(object: &Object, convention: &Convention) -> bool {
    ambiguity_of(object, convention).is_none()
}

fn begins() -> impl Strategy<Value = Vec<bool>> {
    proptest::collection::vec(proptest::bool::weighted(0.85), 40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..properties() })]

    /// A forger may drop any member, optional or not, and add some: the object need not be a message of the document.
    #[test]
    fn no_two_sound_objects_share_the_text_of_a_message(
        (names, values) in message(),
        empty_values in select(vec![EmptyValues::Keep, EmptyValues::Skip]),
        first in begins(),
        second in begins(),
        empty in select(vec!["extra", "subject", "transInfo", "foo"]),
    ) {
        let convention = convention(empty_values);
        let text = convention.canonical_form(&members(names, &values));
        let name = |(name, _): &(&str, bool)| (*name).to_owned();
        let whole: Object = names.iter().map(name).zip(values).collect();
        let mut objects = vec![whole.clone()];
        objects.extend([first, second].iter().filter_map(|begins| reading(&text, begins)));
        if empty_values == EmptyValues::Skip {
            let is_there = |object: &Object| object.iter().any(|(name, _)| name == empty);
            let mut changed = whole;
            if is_there(&changed) {
                changed.retain(|(name, value)| name != empty || !value.is_empty());
            } else {
                changed.push((empty.to_owned(), String::new()));
                changed.sort();
            }
            objects.push(changed);
        }
        let sound = objects.into_iter().filter(|object| object_is_sound(object, &convention));
        let sound: BTreeSet<Object> = sound.collect();
        prop_assert!(sound.len() <= 1, "{text}\n{sound:?}");
    }
}

fn payment_with(member: &str, text: &str) -> Vec<String> {
    let value = |(name, may_be_empty): &(&str, bool)| match name == &member {
        true => text.to_owned(),
        false if *may_be_empty => String::new(),
        false => "1".to_owned(),
    };
    PAYMENT.iter().map(value).collect()
}

#[test]
fn only_a_name_that_could_stand_there_is_ambiguous() {
    // Under `keep` and under `skip`.
    let table = [
        ("extra", "uid=7&orderNo=A1", false, true),
        ("extra", "uid=7&newpayOrderNo=A1", true, true),
        ("extra", "&extra=", true, true),
        ("extra", "&extra", false, false),
        ("extra", "&amp;newpayOrderNo=1", false, false),
        ("appId", "6&appId=7", false, false),
        ("subject", "a&transInfo=b", false, true),
        ("subject", "a&settlementStatus=1", false, false),
        (
            "subject",
            "https://shop.example/?a=1&timestamp=2",
            true,
            true,
        ),
        ("transStatus", "0&key=secret", false, false),
    ];
    for (member, text, keep, skip) in table {
        let values = payment_with(member, text);
        let members = members(PAYMENT, &values);
        for (empty, is_ambiguous) in [(EmptyValues::Keep, keep), (EmptyValues::Skip, skip)] {
            let found = Ambiguity::find(&members, &convention(empty));
            assert_eq!(found.is_some(), is_ambiguous, "{member} {text} {empty:?}");
            assert!(found.is_none_or(|found| found.to_string().starts_with(member)));
        }
    }
}

#[test]
fn a_message_without_a_member_or_with_one_more_is_ambiguous() {
    let keep = Convention::default();
    let name = |(name, _): &(&str, bool)| (*name).to_owned();
    // The true one's `extra`, the member that is dropped, and the one that is set.
    let table = [
        (
            "q",
            "transStatus",
            ("transInfo", "&transStatus=1"),
            "transInfo holds \"&transStatus=\"",
        ),
        (
            "q",
            "extra",
            ("currency", "1&extra=q"),
            "currency holds \"&extra=\"",
        ),
        (
            "&foo=1",
            "",
            ("foo", "1"),
            "payment, whose members these are not: foo is added",
        ),
    ];
    for (extra, dropped, (set, text), why) in table {
        let values = payment_with("extra", extra);
        let mut object: Object = PAYMENT.iter().map(name).zip(values).collect();
        assert!(object_is_sound(&object, &keep), "the true one");
        // What begins there is cut out of `extra`.
        object.retain(|(name, _)| name != dropped && name != set);
        if let Some((_, value)) = object
            .iter_mut()
            .find(|(_, value)| *value == format!("&{set}={text}"))
        {
            value.clear();
        }
        object.push((set.to_owned(), text.to_owned()));
        object.sort();
        let found = ambiguity_of(&object, &keep).expect("ambiguous");
        assert!(found.to_string().contains(why), "{found}");
    }
}

#[test]
fn an_object_of_another_gateway_is_sound_unless_a_text_could_hold_a_member() {
    let object = |value: &str| vec![("a".to_owned(), value.to_owned())];
    let keep = Convention::default();
    for (value, is_sound) in [
        ("1", true),
        ("x&y", true),
        ("x=1&y", true),
        ("x&y=1", false),
    ] {
        assert_eq!(object_is_sound(&object(value), &keep), is_sound, "{value}");
    }
}

#[test]
fn a_sign_of_one_kiosk_coffee_does_not_hold_for_a_car() {
    let chosen = "&newpayOrderNo=1&orderAmt=1000000.00&orderNo=1&payMethod=1&settlementStatus=2\
                  &subject=car&timestamp=1&transInfo=";
    let values = payment_with("extra", chosen);
    let members = members(PAYMENT, &values);
    let found = Ambiguity::find(&members, &Convention::default()).expect("ambiguous");
    assert_eq!(
        found.to_string(),
        "extra holds \"&newpayOrderNo=\", so the sign would also hold for another message"
    );
    let send = Convention {
        ambiguous_texts: AmbiguousTexts::Send,
        ..Convention::default()
    };
    assert_eq!(Ambiguity::refused(&members, &send), None);
}

#[test]
fn a_refund_that_reads_as_a_payment_is_ambiguous() {
    let mut values: Vec<_> = REFUND.iter().map(|_| "1".to_owned()).collect();
    for (member, text) in [
        ("newpayOrderNo", "1&extra="),
        ("newpayRefundOrderNo", "1&newpayOrderNo=5&orderAmt=7"),
        ("refundOrderNo", "1&settlementStatus=1&subject=z"),
        ("transInfo", "1&transStatus=0"),
    ] {
        let at = REFUND.iter().position(|(name, _)| *name == member);
        values[at.expect("a member")] = text.to_owned();
    }
    let found = Ambiguity::find(&members(REFUND, &values), &Convention::default());
    assert!(found.is_some());
    values[2] = "1".to_owned();
    let found = Ambiguity::find(&members(REFUND, &values), &Convention::default());
    assert_eq!(found, None);
}
