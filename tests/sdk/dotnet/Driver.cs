using System;
using System.Collections.Generic;
using System.IO;
using System.Net;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Text;
using System.Text.RegularExpressions;

/// A user's program: sends two messages with each of .NET's clients and prints what came of them.
static class Driver
{
    static readonly string Sid = Environment.GetEnvironmentVariable("TWILIO_ACCOUNT_SID");
    static readonly string Token = Environment.GetEnvironmentVariable("TWILIO_AUTH_TOKEN");
    static readonly string Url = "https://api.twilio.com/2010-04-01/Accounts/" + Sid + "/Messages.json";
    static readonly string Login = Convert.ToBase64String(Encoding.UTF8.GetBytes(Sid + ":" + Token));

    static int Main(string[] words)
    {
        if (words.Length == 1)
            return PastTheProxy(words[0]);
        foreach (var to in new[] { "+14105550100", "+15005550001" })
            Show("HttpClient", ByHttpClient(to));
        foreach (var to in new[] { "+14105550100", "+15005550001" })
            Show("HttpWebRequest", ByHttpWebRequest(to));
        return 0;
    }

    /// With the headers of twilio-csharp 5 and newer.
    static KeyValuePair<HttpStatusCode, string> ByHttpClient(string to)
    {
        var request = new HttpRequestMessage(new HttpMethod("POST"), Url);
        request.Content = new FormUrlEncodedContent(new Dictionary<string, string>
            { { "To", to }, { "From", "+15005550006" }, { "Body", "hello" } });
        request.Headers.Authorization = new AuthenticationHeaderValue("Basic", Login);
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("application/json"));
        request.Headers.AcceptEncoding.Add(new StringWithQualityHeaderValue("utf-8"));
        request.Headers.TryAddWithoutValidation("User-Agent", "twilio-csharp/5.0.0 (.NET 4+)");
        var answer = new HttpClient().SendAsync(request).Result;
        return new KeyValuePair<HttpStatusCode, string>(
            answer.StatusCode, answer.Content.ReadAsStringAsync().Result);
    }

    /// What RestSharp, under twilio-csharp 4, sends with.
    static KeyValuePair<HttpStatusCode, string> ByHttpWebRequest(string to)
    {
        var request = (HttpWebRequest)WebRequest.Create(Url);
        request.Method = "POST";
        request.ContentType = "application/x-www-form-urlencoded";
        request.Headers["Authorization"] = "Basic " + Login;
        var form = "To=" + Uri.EscapeDataString(to) + "&From=%2B15005550006&Body=hello";
        using (var stream = request.GetRequestStream())
            stream.Write(Encoding.ASCII.GetBytes(form), 0, form.Length);
        HttpWebResponse answer;
        try
        {
            answer = (HttpWebResponse)request.GetResponse();
        }
        catch (WebException error) when (error.Response != null)
        {
            answer = (HttpWebResponse)error.Response;
        }
        return new KeyValuePair<HttpStatusCode, string>(
            answer.StatusCode, new StreamReader(answer.GetResponseStream()).ReadToEnd());
    }

    static void Show(string client, KeyValuePair<HttpStatusCode, string> answer)
    {
        var said = Regex.Match(answer.Value, "\"(?:status\": \"|code\": )(\\w+)").Groups[1].Value;
        Console.WriteLine(client + " " + (int)answer.Key + " " + said);
    }

    /// A client of the program's own that uses no proxy, in a program that does not mind what comes of it.
    static int PastTheProxy(string url)
    {
        try
        {
            var client = new HttpClient(new HttpClientHandler { UseProxy = false });
            Console.WriteLine((int)client.GetAsync(url).Result.StatusCode);
        }
        catch (AggregateException error)
        {
            Console.WriteLine(error.GetBaseException().Message);
        }
        return 0;
    }
}
