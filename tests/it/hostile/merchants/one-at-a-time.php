<?php
// A shop with one worker that takes its time, and works on all that has been sent to it, whether or not
// anybody still waits for the answer.
usleep(30_000);
header('Content-Type: application/json');
echo '{"transResult":"SUCCESS"}';
