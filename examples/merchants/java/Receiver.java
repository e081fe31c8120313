import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.X509EncodedKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Executors;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * Takes NewPay's payment and refund callbacks: verifies, stores, acknowledges.
 *
 * <p>Java 17 or newer, nothing beside the JDK. It speaks plain HTTP on loopback; put a web server
 * that speaks TLS in front of it. What it is configured by stands in ../README.md, what it does and
 * why in docs/merchants.md.
 */
public final class Receiver {
    private static final String PATH = "/newpay/callback";
    private static final int BODY_BYTES_MAX = 64 * 1024;

    /**
     * Every member of either message, and its type. Exactly these: the signed text has no quotes,
     * so a message that lacks a member, or has one more, could be another one's text cut up
     * differently.
     */
    private static final Map<String, Type> PAYMENT = Map.ofEntries(
            Map.entry("appId", Type.TEXT), Map.entry("payMethod", Type.NUMBER),
            Map.entry("orderAmt", Type.TEXT), Map.entry("currency", Type.TEXT),
            Map.entry("newpayOrderNo", Type.TEXT), Map.entry("orderNo", Type.TEXT),
            Map.entry("subject", Type.TEXT), Map.entry("transStatus", Type.NUMBER),
            Map.entry("transInfo", Type.TEXT), Map.entry("settlementStatus", Type.NUMBER),
            Map.entry("timestamp", Type.TEXT), Map.entry("extra", Type.TEXT),
            Map.entry("sign", Type.TEXT));

    private static final Map<String, Type> REFUND = Map.ofEntries(
            Map.entry("appId", Type.TEXT), Map.entry("payMethod", Type.NUMBER),
            Map.entry("refundOrderAmt", Type.TEXT), Map.entry("currency", Type.TEXT),
            Map.entry("newpayOrderNo", Type.TEXT), Map.entry("newpayRefundOrderNo", Type.TEXT),
            Map.entry("orderNo", Type.TEXT), Map.entry("refundOrderNo", Type.TEXT),
            Map.entry("tranStatus", Type.NUMBER), Map.entry("transInfo", Type.TEXT),
            Map.entry("timestamp", Type.TEXT), Map.entry("sign", Type.TEXT));

    private enum Type { TEXT, NUMBER }

    /** A member's value: a number stays as it was written. */
    private record Value(Type type, String text) {}

    /** What is stored. */
    private record Result(
            String kind, String number, String result, String amount, String currency,
            String orderNo, String refundOrderNo) {
        String key() {
            return kind + " " + number;
        }
    }

    /** The callback is not acknowledged. */
    private static final class Refused extends Exception {
        final int status;

        Refused(int status, String reason) {
            super(reason);
            this.status = status;
        }
    }

    private final String appId;
    private final Verifier verifier;
    private final long maxAgeMillis;
    private final Results results;

    private Receiver(String appId, Verifier verifier, long maxAgeMillis, Results results) {
        this.appId = appId;
        this.verifier = verifier;
        this.maxAgeMillis = maxAgeMillis;
        this.results = results;
    }

    public static void main(String[] arguments) throws Exception {
        // Read by the server when it starts: seconds for a request, and no 40 ms pause before answers.
        System.setProperty("sun.net.httpserver.maxReqTime", "10");
        System.setProperty("sun.net.httpserver.maxRspTime", "10");
        System.setProperty("sun.net.httpserver.nodelay", "true");
        Receiver receiver = new Receiver(
                setting("NEWPAY_APP_ID", null),
                Verifier.of(System.getenv("NEWPAY_PUBLIC_KEY_FILE")),
                Long.parseLong(setting("MAX_AGE_SECONDS", "300")) * 1000,
                new Results(Path.of(setting("RESULTS", "results.ndjson"))));
        int port = Integer.parseInt(setting("PORT", "8080"));
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 128);
        server.createContext("/", receiver::handle);
        server.setExecutor(Executors.newFixedThreadPool(16));
        server.start();
        System.out.println("listening on " + server.getAddress().getPort());
    }

    private void handle(HttpExchange exchange) throws IOException {
        try (exchange) {
            try {
                log(receive(exchange));
                answer(exchange, 200, "{\"transResult\":\"SUCCESS\"}");
            } catch (Refused refused) {
                log("refused: " + refused.getMessage());
                answer(exchange, refused.status, failure(refused.getMessage()));
            } catch (IOException | GeneralSecurityException | RuntimeException error) {
                log("failed: " + error);
                answer(exchange, 503, failure("the result could not be stored"));
            }
        }
    }

    private String receive(HttpExchange exchange)
            throws Refused, IOException, GeneralSecurityException {
        if (!exchange.getRequestURI().getPath().equals(PATH)) {
            throw new Refused(404, "callbacks go to " + PATH);
        }
        if (!exchange.getRequestMethod().equals("POST")) {
            throw new Refused(405, "callbacks are POSTs");
        }
        byte[] body = exchange.getRequestBody().readNBytes(BODY_BYTES_MAX + 1);
        if (body.length > BODY_BYTES_MAX) {
            throw new Refused(413, "the body is too large");
        }
        Map<String, Value> message = new FlatJson(body).members();
        checkMembers(message);
        if (!message.get("appId").text().equals(appId)) {
            throw new Refused(403, "the appId is another");
        }
        if (!verifier.holds(canonicalForm(message), message.get("sign").text())) {
            throw new Refused(403, "the sign does not hold");
        }
        checkAge(message.get("timestamp").text());
        Result result = readResult(message);
        boolean added = results.store(result);
        return (added ? "stored: " : "known: ")
                + result.kind() + " " + result.number() + " " + result.result();
    }

    /** Whether it is one of the two messages, whole and unambiguous. */
    private static void checkMembers(Map<String, Value> message) throws Refused {
        Map<String, Type> expected = message.containsKey("newpayRefundOrderNo") ? REFUND : PAYMENT;
        if (!message.keySet().equals(expected.keySet())) {
            throw new Refused(400, "members are missing, or there are others");
        }
        for (Map.Entry<String, Value> member : message.entrySet()) {
            if (member.getValue().type() != expected.get(member.getKey())) {
                throw new Refused(400, member.getKey() + " has the wrong type");
            }
        }
        if (isAmbiguous(message)) {
            throw new Refused(400, "another message could have the same signed text");
        }
    }

    /** Whether another message could have the same signed text: docs/merchants.md, "Ambiguous texts". */
    private static boolean isAmbiguous(Map<String, Value> message) {
        List<String> names = new ArrayList<>(new TreeMap<>(message).keySet());
        names.remove("sign");
        for (int at = 0; at < names.size(); at++) {
            String text = message.get(names.get(at)).text();
            for (String begun : names.subList(Math.max(at, 1), Math.min(at + 2, names.size()))) {
                if (text.contains("&" + begun + "=")) {
                    return true;
                }
            }
        }
        Map<String, Type> other = message.containsKey("newpayRefundOrderNo") ? PAYMENT : REFUND;
        List<String> needed = new ArrayList<>(new TreeMap<>(other).keySet());
        needed.removeAll(List.of("appId", "sign"));
        String text = canonicalForm(message);
        int at = 0;
        for (String name : needed) {
            String beginning = "&" + name + "=";
            int found = text.indexOf(beginning, at);
            if (found < 0) {
                return false;
            }
            at = found + beginning.length();
        }
        return true;
    }

    /** The text that is signed. */
    private static String canonicalForm(Map<String, Value> message) {
        List<String> members = new ArrayList<>();
        for (Map.Entry<String, Value> member : new TreeMap<>(message).entrySet()) {
            if (!member.getKey().equals("sign")) {
                members.add(member.getKey() + "=" + member.getValue().text());
            }
        }
        return String.join("&", members);
    }

    /** Each attempt has a timestamp of its own, so an old one is no late retry but a replay. */
    private void checkAge(String timestamp) throws Refused {
        if (!timestamp.matches("[0-9]{1,15}")) {
            throw new Refused(400, "timestamp is not a number of milliseconds");
        }
        if (Math.abs(System.currentTimeMillis() - Long.parseLong(timestamp)) > maxAgeMillis) {
            throw new Refused(403, "the timestamp is too old, or in the future");
        }
    }

    /** What the message says. The two status members are each other's opposite. */
    private static Result readResult(Map<String, Value> message) throws Refused {
        boolean isRefund = message.containsKey("newpayRefundOrderNo");
        String success = isRefund ? "1" : "0";
        String failure = isRefund ? "0" : "1";
        String status = message.get(isRefund ? "tranStatus" : "transStatus").text();
        if (!status.equals(success) && !status.equals(failure)) {
            throw new Refused(400, "the status is neither 0 nor 1");
        }
        return new Result(
                isRefund ? "refund" : "payment",
                message.get(isRefund ? "newpayRefundOrderNo" : "newpayOrderNo").text(),
                status.equals(success) ? "success" : "failure",
                message.get(isRefund ? "refundOrderAmt" : "orderAmt").text(),
                message.get("currency").text(),
                message.get("orderNo").text(),
                isRefund ? message.get("refundOrderNo").text() : "");
    }

    /** Checks signs: by secrets, or by the platform's public key. */
    private record Verifier(List<SecretKeySpec> secrets, PublicKey publicKey) {
        static Verifier of(String publicKeyFile) throws IOException, GeneralSecurityException {
            if (publicKeyFile != null) {
                String pem = Files.readString(Path.of(publicKeyFile));
                String base64 = pem.replaceAll("-----[A-Z ]+-----", "").replaceAll("\\s", "");
                X509EncodedKeySpec key = new X509EncodedKeySpec(Base64.getDecoder().decode(base64));
                return new Verifier(List.of(), KeyFactory.getInstance("RSA").generatePublic(key));
            }
            List<SecretKeySpec> secrets = new ArrayList<>();
            for (String line : Files.readAllLines(Path.of(setting("NEWPAY_SECRETS_FILE", null)))) {
                if (!line.isEmpty()) {
                    byte[] secret = line.getBytes(StandardCharsets.UTF_8);
                    secrets.add(new SecretKeySpec(secret, "HmacSHA256"));
                }
            }
            if (secrets.isEmpty()) {
                throw new IllegalStateException(
                        "NEWPAY_SECRETS_FILE is empty; write one secret per line into it");
            }
            return new Verifier(secrets, null);
        }

        boolean holds(String canonicalForm, String sign) throws GeneralSecurityException {
            byte[] text = canonicalForm.getBytes(StandardCharsets.UTF_8);
            byte[] given;
            try {
                given = Base64.getDecoder().decode(sign);
            } catch (IllegalArgumentException notBase64) {
                return false;
            }
            if (publicKey != null) {
                Signature signature = Signature.getInstance("SHA256withRSA");
                signature.initVerify(publicKey);
                signature.update(text);
                try {
                    return signature.verify(given);
                } catch (GeneralSecurityException wrongLength) {
                    return false;
                }
            }
            boolean holds = false;
            for (SecretKeySpec secret : secrets) {
                Mac mac = Mac.getInstance("HmacSHA256");
                mac.init(secret);
                // Compares in constant time.
                holds |= MessageDigest.isEqual(mac.doFinal(text), given);
            }
            return holds;
        }
    }

    /**
     * A file with a line of JSON for each payment and each refund. One process only: it knows what
     * is in the file without reading it again. Several processes need a database with a unique key.
     */
    private static final class Results {
        private final FileChannel file;
        private final Map<String, Result> known = new HashMap<>();

        Results(Path path) throws IOException, Refused {
            file = FileChannel.open(
                    path, StandardOpenOption.CREATE, StandardOpenOption.READ,
                    StandardOpenOption.WRITE);
            byte[] text = Files.readAllBytes(path);
            int begin = 0;
            for (int at = 0; at < text.length; at++) {
                if (text[at] == '\n') {
                    byte[] line = java.util.Arrays.copyOfRange(text, begin, at);
                    Map<String, Value> members = new FlatJson(line).members();
                    Result result = new Result(
                            members.get("kind").text(), members.get("number").text(),
                            members.get("result").text(), members.get("amount").text(),
                            members.get("currency").text(), members.get("orderNo").text(),
                            members.get("refundOrderNo").text());
                    known.put(result.key(), result);
                    begin = at + 1;
                }
            }
            // A line that a crash cut off was never acknowledged.
            file.truncate(begin);
            file.position(begin);
        }

        /** Returns once the result is on disk; whether it was new. */
        synchronized boolean store(Result result) throws IOException, Refused {
            Result stored = known.get(result.key());
            if (stored != null) {
                if (!stored.equals(result)) {
                    throw new Refused(409, "another result is stored under this number");
                }
                return false;
            }
            String line = "{" + String.join(",",
                    member("kind", result.kind()), member("number", result.number()),
                    member("result", result.result()), member("amount", result.amount()),
                    member("currency", result.currency()), member("orderNo", result.orderNo()),
                    member("refundOrderNo", result.refundOrderNo()),
                    "\"receivedAt\":" + System.currentTimeMillis()) + "}\n";
            long end = file.position();
            try {
                ByteBuffer bytes = ByteBuffer.wrap(line.getBytes(StandardCharsets.UTF_8));
                while (bytes.hasRemaining()) {
                    file.write(bytes);
                }
                file.force(true);
            } catch (IOException error) {
                file.truncate(end);
                file.position(end);
                throw error;
            }
            known.put(result.key(), result);
            return true;
        }
    }

    /**
     * A flat JSON object of texts and integers, read strictly: each member once, no half surrogate
     * pairs, nothing after the object.
     */
    private static final class FlatJson {
        private final String json;
        private int at;

        FlatJson(byte[] bytes) throws Refused {
            try {
                json = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
            } catch (CharacterCodingException error) {
                throw new Refused(400, "the body is not UTF-8");
            }
        }

        Map<String, Value> members() throws Refused {
            Map<String, Value> members = new HashMap<>();
            char separator;
            expect("{");
            do {
                expect("\"");
                String name = text();
                expect(":");
                char first = expect("\"-0123456789");
                Value value = first == '"'
                        ? new Value(Type.TEXT, text())
                        : new Value(Type.NUMBER, number());
                if (members.put(name, value) != null) {
                    throw new Refused(400, "a member is there twice");
                }
                separator = expect(",}");
            } while (separator == ',');
            skipSpace();
            if (at != json.length()) {
                throw new Refused(400, "text follows the JSON object");
            }
            return members;
        }

        private void skipSpace() {
            while (at < json.length() && " \t\r\n".indexOf(json.charAt(at)) >= 0) {
                at++;
            }
        }

        /** The next character but for white space, which must be one of these. */
        private char expect(String characters) throws Refused {
            skipSpace();
            if (at == json.length() || characters.indexOf(json.charAt(at)) < 0) {
                throw notJson();
            }
            return json.charAt(at++);
        }

        /** An integer whose first character has been taken. */
        private String number() throws Refused {
            int begin = at - 1;
            while (at < json.length() && "0123456789.eE+-".indexOf(json.charAt(at)) >= 0) {
                at++;
            }
            String number = json.substring(begin, at);
            if (!number.matches("-?(0|[1-9][0-9]*)")) {
                throw notJson();
            }
            return number;
        }

        /** A string whose opening quote has been taken. */
        private String text() throws Refused {
            StringBuilder text = new StringBuilder();
            while (true) {
                char next = take();
                if (next == '"') {
                    break;
                } else if (next == '\\') {
                    text.append(escaped());
                } else if (next < ' ') {
                    throw notJson();
                } else {
                    text.append(next);
                }
            }
            try {
                StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(text));
            } catch (CharacterCodingException halfOfAPair) {
                throw new Refused(400, "a text is not Unicode");
            }
            return text.toString();
        }

        private char escaped() throws Refused {
            char letter = take();
            if (letter == 'u') {
                int code = 0;
                for (int digit = 0; digit < 4; digit++) {
                    int value = "0123456789abcdef".indexOf(Character.toLowerCase(take()));
                    if (value < 0) {
                        throw notJson();
                    }
                    code = code * 16 + value;
                }
                return (char) code;
            }
            int which = "\"\\/bfnrt".indexOf(letter);
            if (which < 0) {
                throw notJson();
            }
            return "\"\\/\b\f\n\r\t".charAt(which);
        }

        private char take() throws Refused {
            if (at == json.length()) {
                throw notJson();
            }
            return json.charAt(at++);
        }

        private static Refused notJson() {
            return new Refused(400, "the body is not a JSON object of texts and integers");
        }
    }

    private static String failure(String reason) {
        return "{\"transResult\":\"FAIL\"," + member("reason", reason) + "}";
    }

    private static String member(String name, String text) {
        StringBuilder quoted = new StringBuilder();
        text.chars().forEach(c -> {
            if (c < ' ' || c == '"' || c == '\\') {
                quoted.append(String.format("\\u%04x", c));
            } else {
                quoted.append((char) c);
            }
        });
        return "\"" + name + "\":\"" + quoted + "\"";
    }

    private static void answer(HttpExchange exchange, int status, String json) throws IOException {
        byte[] body = json.getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "application/json");
        exchange.sendResponseHeaders(status, body.length);
        exchange.getResponseBody().write(body);
    }

    /** Control characters would command the terminal. */
    private static void log(String text) {
        System.out.println(text.replaceAll("[^\\x20-\\x7e]", "?"));
    }

    private static String setting(String name, String otherwise) {
        String value = System.getenv().getOrDefault(name, otherwise);
        if (value == null) {
            throw new IllegalStateException(name + " is not set; see README.md");
        }
        return value;
    }
}
