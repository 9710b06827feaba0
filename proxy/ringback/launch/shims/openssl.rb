# frozen_string_literal: true

# Ringback put this file first on RUBYLIB. It loads the real openssl and lets every client trust Ringback's root
# as well: a `ca_file` of the program's own, as twilio-ruby 4 brings one, replaces SSL_CERT_FILE.
here = File.expand_path('..', __FILE__)
if $LOAD_PATH.frozen?
  # This file cannot leave the path, so the real one is named in full.
  others = $LOAD_PATH.reject { |directory| File.expand_path(directory) == here }
  real = others.map { |directory| File.join(directory, 'openssl.rb') }.find { |file| File.exist?(file) }
  require real if real
else
  $LOAD_PATH.delete_if { |directory| File.expand_path(directory) == here }
  require 'openssl'
end

RINGBACK_ROOT = File.expand_path('../root.pem', here)

OpenSSL::SSL::SSLContext.send(
  :prepend,
  Module.new do
    def set_params(*)
      super.tap do
        # The default store, which not every Ruby calls so, has the root from SSL_CERT_FILE.
        usual = OpenSSL::SSL::SSLContext
        usual = usual.const_defined?(:DEFAULT_CERT_STORE) ? usual::DEFAULT_CERT_STORE : nil
        if ca_file || ca_path || (cert_store && !cert_store.equal?(usual))
          begin
            self.cert_store ||= OpenSSL::X509::Store.new
            cert_store.add_file(RINGBACK_ROOT)
          rescue OpenSSL::OpenSSLError, RuntimeError
            nil # it has the root already, or is frozen
          end
        end
      end
    end
  end
)

# Through the proxy nobody needs the address of one of Twilio's hosts: who asks for it is on the way past it.
module RingbackGuard
  LAUNCH = File.dirname(RINGBACK_ROOT)
  TWILIO = /(\A|\.)twilio\.com\.?\z/i.freeze

  def self.leave_marker(kind, text)
    File.write(File.join(LAUNCH, "#{kind}-ruby-#{Process.pid}"), text)
  rescue SystemCallError
    nil # the launch is over, or this user may not write to its directory: nobody is there to read it
  end

  def self.stop(host)
    return unless host.is_a?(String) && host =~ TWILIO

    program = [$PROGRAM_NAME, *ARGV].join(' ').tr("\n", ' ')
    lost = ENV['HTTPS_PROXY'] || ENV['https_proxy'] ? '' : 'HTTPS_PROXY is gone'
    leave_marker('bypassed', "#{host}\n#{program}\n#{lost}\n")
    raise SocketError, "Ringback stopped a connection to #{host} that would have gone past its proxy: " \
                       'this client does not use HTTPS_PROXY'
  end
end

# Net::HTTP asks whether a host is this machine before it uses the proxy (`URI#find_proxy`), and goes on without
# an answer. In a mount namespace the answer would lead it past the proxy.
module RingbackLookUp
  def getaddress(*arguments)
    host = arguments.first
    if host.is_a?(String) && host =~ RingbackGuard::TWILIO
      caller_locations.any? { |it| it.label =~ /find_proxy/ } || RingbackGuard.stop(host)
      raise SocketError, "Ringback looks up no address for #{host}"
    end
    super
  end
end

begin
  require 'socket'
  IPSocket.singleton_class.send(:prepend, RingbackLookUp)
  [
    [TCPSocket, :initialize],
    [Addrinfo.singleton_class, :getaddrinfo],
    [Addrinfo.singleton_class, :tcp],
    [Socket.singleton_class, :getaddrinfo]
  ].each do |owner, name|
    guard = Module.new do
      define_method(name) do |*arguments, &block|
        RingbackGuard.stop(arguments.first)
        super(*arguments, &block)
      end
      ruby2_keywords(name) if respond_to?(:ruby2_keywords, true)
    end
    owner.send(:prepend, guard)
  end
  RingbackGuard.leave_marker('started', RUBY_VERSION)
rescue LoadError, NameError
  nil # a Ruby without sockets
end
