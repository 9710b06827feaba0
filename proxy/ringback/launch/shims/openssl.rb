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
