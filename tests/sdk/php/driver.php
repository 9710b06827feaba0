<?php
// Send every case with twilio-php 4 to 8 and print what the SDK made of each answer, one JSON object a line.
// Usage: php driver.php CASES.json DIRECTORY, where DIRECTORY is what the page calls /path/to.
// Runs as a user's program does: nothing in it knows a proxy. It starts on PHP 5.6 already.

$sid = 'AC' . str_repeat('0123456789abcdef', 2);
$message = 'SM' . str_repeat('0', 32);
$old = !is_file("$argv[2]/vendor/autoload.php");
if ($old) {
    if (!function_exists('create_function')) { // generation 4 calls it, and PHP 8 no longer has it
        function create_function($arguments, $code) { return eval("return function ($arguments) { $code };"); }
    }
    require "$argv[2]/twilio-php/Services/Twilio.php";
    $version = Services_Twilio::USER_AGENT;
    $client = new Services_Twilio($sid, 'a-test-token');
} else {
    require "$argv[2]/vendor/autoload.php";
    $version = Twilio\VersionInfo::string();
    $client = new Twilio\Rest\Client($sid, 'a-test-token');
}

function create($client, $resource, $form) {
    global $old;
    if ($old && $resource === 'Calls') {
        return $client->account->calls->create($form['From'], $form['To'], $form['Url']);
    }
    if ($old) {
        $name = $resource === 'Messages' ? 'messages' : 'incoming_phone_numbers';
        return $client->account->$name->create($form);
    }
    $options = array();
    foreach ($form as $name => $text) { $options[lcfirst($name)] = $text; }
    $to = isset($form['To']) ? $form['To'] : null;
    if ($resource === 'Messages') {
        unset($options['to']);
        return $client->messages->create($to, $options);
    }
    if ($resource === 'Calls') {
        return $client->calls->create($to, $form['From'], array('url' => $form['Url']));
    }
    return $client->incomingPhoneNumbers->create($options);
}

function value($made, $name) {
    global $old;
    if ($old && !property_exists($made, $name)) { return null; } // or it would be fetched
    if (!$old) { $name = lcfirst(str_replace('_', '', ucwords($name, '_'))); }
    try {
        return $made->$name;
    } catch (Exception $error) { // this resource has none
        return null;
    }
}

function told($id, $call) {
    try {
        $made = $call();
        $answer = array('id' => $id);
        $names = array('sid', 'account_sid', 'to', 'body', 'status', 'phone_number', 'voice_url', 'uri');
        foreach ($names as $name) { $answer[$name] = value($made, $name); }
        $answer['from_'] = value($made, 'from');
        $created = value($made, 'date_created');
        if (is_string($created)) { $created = DateTime::createFromFormat(DateTime::RFC2822, $created); }
        $answer['created'] = $created instanceof DateTime ? 'datetime' : gettype($created);
    } catch (Exception $error) {
        $ways = array('getStatusCode', 'getStatus');
        $status = null;
        foreach ($ways as $way) { if (method_exists($error, $way)) { $status = $error->$way(); } }
        $answer = array('id' => $id, 'exception' => get_class($error), 'status' => $status,
            'code' => $error->getCode(), 'message' => $error->getMessage());
    }
    echo json_encode($answer), "\n";
}

preg_match('/\d+\.\d+\.\d+/', $version, $numbers);
echo json_encode(array('id' => 'version', 'version' => $numbers[0])), "\n";
foreach (json_decode(file_get_contents($argv[1]), true) as $row) {
    told($row['id'], function () use ($client, $row) { return create($client, $row['resource'], $row['form']); });
}
// What test credentials cannot reach. Generation 4 fetches when a value is asked for.
told('fetch-message', function () use ($client, $old, $message) {
    return $old ? $client->account->messages->get($message)->status : $client->messages($message)->fetch();
});
told('fetch-account', function () use ($client, $old, $sid) {
    return $old ? $client->accounts->get($sid)->status : $client->api->accounts($sid)->fetch();
});
told('list-calls', function () use ($client, $old) {
    if (!$old) { return $client->calls->read(array(), 1); }
    foreach ($client->account->calls as $call) { return $call; }
});
if (!$old && method_exists('Twilio\Rest\Client', 'setEdge')) {
    $moved = new Twilio\Rest\Client($sid, 'a-test-token', null, 'ie1');
    $moved->setEdge('dublin');
    told('edge', function () use ($moved) {
        return $moved->messages->create('+14105550100', array('from' => '+15005550006', 'body' => 'moved'));
    });
}
