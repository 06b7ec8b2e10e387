//! Requests to Amazon SNS, or to what speaks like it: `Publish` to a phone number.
//!
//! <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>

/// The form of a `Publish`, before it is encoded. Codes are worth their price: `Transactional`.
pub(crate) fn publish<'a>(
    to: &'a str,
    text: &'a str,
    sender_id: &'a str,
) -> Vec<(String, &'a str)> {
    let mut form: Vec<(String, &str)> =
        [("Action", "Publish"), ("Version", "2010-03-31"), ("PhoneNumber", to), ("Message", text)]
            .map(|(name, value)| (name.to_owned(), value))
            .into();
    let mut attribute = |number: u32, name, value| {
        let prefix = format!("MessageAttributes.entry.{number}");
        form.push((format!("{prefix}.Name"), name));
        form.push((format!("{prefix}.Value.DataType"), "String"));
        form.push((format!("{prefix}.Value.StringValue"), value));
    };
    attribute(1, "AWS.SNS.SMS.SMSType", "Transactional");
    if !sender_id.is_empty() {
        attribute(2, "AWS.SNS.SMS.SenderID", sender_id);
    }
    form
}
