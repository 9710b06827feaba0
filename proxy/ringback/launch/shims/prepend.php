<?php

// Ringback names this file as auto_prepend_file. PHP 5.3 can read it.
//
// twilio-php 4, and 5 before 5.37, take a proxy's reply to CONNECT for the answer, so every answer is wrong by
// any HTTP proxy. Where a program loads one of them, its proxy becomes Ringback's SOCKS port: there the first
// thing that the client reads is the answer. All other programs keep the HTTP proxy.

call_user_func(function () {
    $launch = require __DIR__ . '/launch.php';
    if ($launch['socks'] === null) {
        return;
    }
    $wait = function ($class) use ($launch, &$wait) {
        // Before PHP 8, this loader's being there switches a program's own __autoload off.
        if (function_exists('__autoload') && spl_autoload_functions() == array($wait)) {
            call_user_func('__autoload', $class);
        }
        if ($class !== 'Services_Twilio_TinyHttp' && $class !== 'Twilio\Http\CurlClient') {
            return;
        }
        if ($class === 'Twilio\Http\CurlClient') {
            $version = class_exists('Twilio\VersionInfo') ? call_user_func('Twilio\VersionInfo::string') : '';
            if ($version === '' || version_compare($version, '5.37.0', '>=')) {
                return;
            }
        }
        foreach (array('https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY') as $name) {
            putenv($name . '=' . $launch['socks']);
        }
    };
    spl_autoload_register($wait, true, true);
});

if ($ringback_next = call_user_func(function () {
    $launch = require __DIR__ . '/launch.php';
    return $launch['next'];
})) {
    // In the global scope, as PHP itself would have run it.
    require $ringback_next;
}
unset($ringback_next);
