<?php
// A merchant in PHP: checks the signature as the document says. The secret is in MERCHANT_SECRET.
$message = json_decode(file_get_contents('php://input'), true);
$sign = $message['sign'];
unset($message['sign']);
ksort($message, SORT_STRING);
$members = array_map(fn($name) => "$name={$message[$name]}", array_keys($message));
$mac = hash_hmac('sha256', implode('&', $members), getenv('MERCHANT_SECRET'), true);
header('Content-Type: application/json');
echo json_encode(['transResult' => base64_encode($mac) === $sign ? 'SUCCESS' : 'FAIL']);
