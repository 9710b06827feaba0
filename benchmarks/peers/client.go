// A Go program that sends messages one after another, over one connection, with HTTP/2 or without.
//
//	client PORT CA.pem MESSAGES h2|h1
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"
)

const account = "AC0123456789abcdef0123456789abcdef"

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	proxy, err := url.Parse("http://127.0.0.1:" + os.Args[1])
	check(err)
	pem, err := os.ReadFile(os.Args[2])
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	messages, err := strconv.Atoi(os.Args[3])
	check(err)
	// With a TLS configuration of its own Go leaves HTTP/2 out unless it is asked for.
	transport := &http.Transport{
		Proxy:             http.ProxyURL(proxy),
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: os.Args[4] == "h2",
	}
	client := &http.Client{Transport: transport}
	latencies := make([]float64, 0, messages)
	spoken := ""
	for number := 0; number < messages; number++ {
		form := url.Values{"From": {"+15005550006"}, "To": {fmt.Sprintf("+1410555%04d", 100+number%100)}, "Body": {fmt.Sprintf("hello %d", number)}}
		address := "https://api.twilio.com/2010-04-01/Accounts/" + account + "/Messages.json"
		request, err := http.NewRequest("POST", address, strings.NewReader(form.Encode()))
		check(err)
		request.SetBasicAuth(account, "token")
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		began := time.Now()
		answer, err := client.Do(request)
		check(err)
		_, err = io.Copy(io.Discard, answer.Body)
		check(err)
		answer.Body.Close()
		if number > 0 { // the first one makes the connection
			latencies = append(latencies, time.Since(began).Seconds()*1000)
		}
		if spoken = answer.Proto; answer.StatusCode != 201 && answer.StatusCode != 200 {
			check(fmt.Errorf("status %d", answer.StatusCode))
		}
	}
	sort.Float64s(latencies)
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"p50":   latencies[len(latencies)/2],
		"p99":   latencies[len(latencies)*99/100],
		"proto": spoken,
	}))
}
