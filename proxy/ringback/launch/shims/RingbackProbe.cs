using System;
using System.Net.Http;
using System.Text;

/// For `ringback doctor`: URL FORM AUTHORIZATION. Sends the form and prints the answer's status.
static class RingbackProbe
{
    static int Main(string[] words)
    {
        var request = new HttpRequestMessage(HttpMethod.Post, words[0]);
        request.Headers.TryAddWithoutValidation("Authorization", words[2]);
        request.Content = new StringContent(words[1], Encoding.ASCII, "application/x-www-form-urlencoded");
        try
        {
            Console.WriteLine((int)new HttpClient().SendAsync(request).Result.StatusCode);
            return 0;
        }
        catch (AggregateException error)
        {
            Console.Error.WriteLine(error.GetBaseException().Message);
            return 1;
        }
    }
}
