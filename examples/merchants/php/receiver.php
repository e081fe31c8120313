<?php
// Takes NewPay's payment and refund callbacks: verifies, stores, acknowledges.
//
// PHP 8.1 or newer, nothing beside what it has built in. Give this file a path of your web server
// that speaks TLS, or try it with: php -S 127.0.0.1:8080 receiver.php. What it is configured by
// stands in ../README.md, what it does and why in docs/merchants.md.

declare(strict_types=1);

const PATH = '/newpay/callback';
const BODY_BYTES_MAX = 64 * 1024;

// Every member of either message, and its type. Exactly these: the signed text has no quotes, so a
// message that lacks a member, or has one more, could be another one's text cut up differently.
const PAYMENT = [
    'appId' => 'text', 'payMethod' => 'number', 'orderAmt' => 'text', 'currency' => 'text',
    'newpayOrderNo' => 'text', 'orderNo' => 'text', 'subject' => 'text',
    'transStatus' => 'number', 'transInfo' => 'text', 'settlementStatus' => 'number',
    'timestamp' => 'text', 'extra' => 'text', 'sign' => 'text',
];
const REFUND = [
    'appId' => 'text', 'payMethod' => 'number', 'refundOrderAmt' => 'text', 'currency' => 'text',
    'newpayOrderNo' => 'text', 'newpayRefundOrderNo' => 'text', 'orderNo' => 'text',
    'refundOrderNo' => 'text', 'tranStatus' => 'number', 'transInfo' => 'text',
    'timestamp' => 'text', 'sign' => 'text',
];

/** The callback is not acknowledged; the code is the HTTP status. */
final class Refused extends Exception
{
    public function __construct(int $status, string $reason)
    {
        parent::__construct($reason, $status);
    }
}

/**
 * The members of a flat JSON object and, apart, their types. json_decode would do, but it keeps
 * the last of doubled members in silence and forgets how a number was written.
 *
 * @return array{array<string, string>, array<string, string>}
 */
function parse(string $body): array
{
    $at = 0;
    $next = function (string $expected) use ($body, &$at): string {
        $token = '/[ \t\r\n]*+("(?:[^"\\\\]++|\\\\.)*+"|-?(?:0|[1-9][0-9]*+)(?![0-9.eE])|[{}:,])[ \t\r\n]*+/A';
        if (preg_match($token, $body, $found, 0, $at) !== 1 || !str_contains($expected, $found[1][0])) {
            throw new Refused(400, 'the body is not a JSON object of texts and integers');
        }
        $at += strlen($found[0]);
        return $found[1];
    };
    [$texts, $types] = [[], []];
    $next('{');
    do {
        $name = decode($next('"'));
        $next(':');
        $value = $next('"-0123456789');
        if (isset($types[$name])) {
            throw new Refused(400, 'a member is there twice');
        }
        $types[$name] = $value[0] === '"' ? 'text' : 'number';
        $texts[$name] = $value[0] === '"' ? decode($value) : $value;
    } while ($next(',}') === ',');
    if ($at !== strlen($body)) {
        throw new Refused(400, 'text follows the JSON object');
    }
    return [$texts, $types];
}

/** What a JSON string stands for; no half surrogate pairs, and nothing that is not UTF-8. */
function decode(string $literal): string
{
    $text = json_decode($literal);
    if (!is_string($text)) {
        throw new Refused(400, 'a text is not JSON');
    }
    return $text;
}

/** Whether it is one of the two messages, whole and unambiguous. */
function check_members(array $texts, array $types): void
{
    $expected = isset($types['newpayRefundOrderNo']) ? REFUND : PAYMENT;
    if (array_diff_key($expected, $types) !== [] || array_diff_key($types, $expected) !== []) {
        throw new Refused(400, 'members are missing, or there are others');
    }
    foreach ($types as $name => $type) {
        if ($type !== $expected[$name]) {
            throw new Refused(400, "$name has the wrong type");
        }
    }
    if (is_ambiguous($texts)) {
        throw new Refused(400, 'another message could have the same signed text');
    }
}

/** Whether another message could have the same signed text: docs/merchants.md, "Ambiguous texts". */
function is_ambiguous(array $texts): bool
{
    $signed = array_diff_key($texts, ['sign' => true]);
    ksort($signed, SORT_STRING);
    $names = array_keys($signed);
    foreach ($names as $at => $name) {
        $own_and_next = array_slice($names, max($at, 1), $at > 0 ? 2 : 1);
        foreach ($own_and_next as $begun) {
            if (str_contains($texts[$name], "&$begun=")) {
                return true;
            }
        }
    }
    $other = isset($texts['newpayRefundOrderNo']) ? PAYMENT : REFUND;
    unset($other['appId'], $other['sign']);
    ksort($other, SORT_STRING);
    $rest = canonical_form($texts);
    foreach (array_keys($other) as $name) {
        $found = strpos($rest, "&$name=");
        if ($found === false) {
            return false;
        }
        $rest = substr($rest, $found + strlen("&$name="));
    }
    return true;
}

/** The text that is signed. */
function canonical_form(array $message): string
{
    unset($message['sign']);
    ksort($message, SORT_STRING);
    $members = array_map(fn($name) => "$name={$message[$name]}", array_keys($message));
    return implode('&', $members);
}

/** Whether the sign holds, by one of the secrets or by the platform's public key. */
function is_signed(array $message): bool
{
    $text = canonical_form($message);
    $public_key_file = getenv('NEWPAY_PUBLIC_KEY_FILE');
    if ($public_key_file !== false) {
        $sign = base64_decode($message['sign'], true);
        return $sign !== false
            && openssl_verify($text, $sign, read_file($public_key_file), OPENSSL_ALGO_SHA256) === 1;
    }
    $holds = false;
    foreach (secrets() as $secret) {
        $expected = base64_encode(hash_hmac('sha256', $text, $secret, true));
        $holds = hash_equals($expected, $message['sign']) || $holds;
    }
    return $holds;
}

/** Each attempt has a timestamp of its own, so an old one is not a late retry but a replay. */
function check_age(string $timestamp): void
{
    if (preg_match('/^[0-9]{1,15}$/D', $timestamp) !== 1) {
        throw new Refused(400, 'timestamp is not a number of milliseconds');
    }
    $max_age_seconds = (int) (getenv('MAX_AGE_SECONDS') ?: 300);
    if (abs(microtime(true) * 1000 - (float) $timestamp) > $max_age_seconds * 1000) {
        throw new Refused(403, 'the timestamp is too old, or in the future');
    }
}

/** What the message says. The two status members are each other's opposite. */
function read_result(array $message): array
{
    $is_refund = isset($message['newpayRefundOrderNo']);
    $words = $is_refund
        ? ['1' => 'success', '0' => 'failure']
        : ['0' => 'success', '1' => 'failure'];
    $status = $message[$is_refund ? 'tranStatus' : 'transStatus'];
    return [
        'kind' => $is_refund ? 'refund' : 'payment',
        'number' => $message[$is_refund ? 'newpayRefundOrderNo' : 'newpayOrderNo'],
        'result' => $words[$status] ?? throw new Refused(400, 'the status is neither 0 nor 1'),
        'amount' => $message[$is_refund ? 'refundOrderAmt' : 'orderAmt'],
        'currency' => $message['currency'],
        'orderNo' => $message['orderNo'],
        'refundOrderNo' => $message['refundOrderNo'] ?? '',
    ];
}

/**
 * Stores the result as a line of JSON in a file that one process at a time may look at and change.
 * Returns once it is on disk; whether it was new. In earnest this is an INSERT into a table with a
 * unique key, which does not read all of it each time.
 */
function store(array $result): bool
{
    $file = fopen(getenv('RESULTS') ?: 'results.ndjson', 'c+');
    if ($file === false || !flock($file, LOCK_EX)) {
        throw new RuntimeException('the file of results cannot be opened and locked');
    }
    try {
        $end = 0;
        while (($line = fgets($file)) !== false && str_ends_with($line, "\n")) {
            $end += strlen($line);
            $known = json_decode($line, true, 4, JSON_THROW_ON_ERROR);
            unset($known['receivedAt']);
            if ($known['kind'] === $result['kind'] && $known['number'] === $result['number']) {
                if ($known !== $result) {
                    throw new Refused(409, 'another result is stored under this number');
                }
                return false;
            }
        }
        // A line that a crash cut off was never acknowledged.
        ftruncate($file, $end);
        fseek($file, $end);
        $entry = $result + ['receivedAt' => (int) (microtime(true) * 1000)];
        $line = json_encode($entry, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE) . "\n";
        if (fwrite($file, $line) !== strlen($line) || !fflush($file) || !fsync($file)) {
            ftruncate($file, $end);
            throw new RuntimeException('the result cannot be written');
        }
        return true;
    } finally {
        fclose($file); // and with it the lock
    }
}

function secrets(): array
{
    $lines = preg_split('/\r?\n/', read_file(setting('NEWPAY_SECRETS_FILE')), -1, PREG_SPLIT_NO_EMPTY);
    return $lines ?: throw new RuntimeException('NEWPAY_SECRETS_FILE is empty; write one secret per line into it');
}

function setting(string $name): string
{
    return getenv($name) ?: throw new RuntimeException("$name is not set; see README.md");
}

function read_file(string $path): string
{
    $text = file_get_contents($path);
    return $text !== false ? $text : throw new RuntimeException("$path cannot be read");
}

function receive(): string
{
    if (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) !== PATH) {
        throw new Refused(404, 'callbacks go to ' . PATH);
    }
    if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
        throw new Refused(405, 'callbacks are POSTs');
    }
    $body = file_get_contents('php://input', false, null, 0, BODY_BYTES_MAX + 1);
    if (strlen($body) > BODY_BYTES_MAX) {
        throw new Refused(413, 'the body is too large');
    }
    [$message, $types] = parse($body);
    check_members($message, $types);
    if ($message['appId'] !== setting('NEWPAY_APP_ID')) {
        throw new Refused(403, 'the appId is another');
    }
    if (!is_signed($message)) {
        throw new Refused(403, 'the sign does not hold');
    }
    check_age($message['timestamp']);
    $result = read_result($message);
    $added = store($result);
    return ($added ? 'stored' : 'known') . ": {$result['kind']} {$result['number']} {$result['result']}";
}

function answer(int $status, array $members): void
{
    http_response_code($status);
    header('Content-Type: application/json');
    echo json_encode($members);
}

/** Control characters would command the terminal. */
function note(string $text): void
{
    error_log(preg_replace('/[^\x20-\x7e]/', '?', $text));
}

// A warning in the answer would make it unreadable.
ini_set('display_errors', '0');
try {
    note(receive());
    answer(200, ['transResult' => 'SUCCESS']);
} catch (Refused $refused) {
    note('refused: ' . $refused->getMessage());
    answer($refused->getCode(), ['transResult' => 'FAIL', 'reason' => $refused->getMessage()]);
} catch (Throwable $error) {
    note('failed: ' . $error->getMessage());
    answer(503, ['transResult' => 'FAIL', 'reason' => 'the result could not be stored']);
}
