# Send every case with twilio-ruby 4 to 7 and print what the SDK made of each answer, one JSON object a line.
# Usage: ruby driver.rb CASES.json. Runs as a user's program does: nothing in it knows a proxy.
require 'json'
require 'time'
require 'twilio-ruby'

SID = 'AC' + '0123456789abcdef' * 2
MESSAGE = 'SM' + '0' * 32
OLD = Twilio::VERSION.start_with?('4.')
CLIENT = Twilio::REST::Client.new(SID, 'a-test-token')
API = OLD ? CLIENT.account : CLIENT

LISTS = { 'IncomingPhoneNumbers' => :incoming_phone_numbers, 'Messages' => :messages, 'Calls' => :calls }

# What test credentials cannot reach, in the SDK's words. Generation 4 fetches when a value is asked for.
OTHERS = {
  'fetch-message' => -> { OLD ? API.messages.get(MESSAGE).status : API.messages(MESSAGE).fetch },
  'list-calls' => -> { OLD ? API.calls.list : API.calls.list(limit: 1) },
  'fetch-account' => -> { OLD ? CLIENT.accounts.get(SID).status : CLIENT.api.accounts(SID).fetch }
}

def value(made, name)
  made.respond_to?(name) ? made.public_send(name) : nil
end

def told(id)
  made = yield
  created = made.date_created
  created = Time.rfc2822(created) if created.is_a?(String)
  names = %i[sid account_sid to body status phone_number voice_url uri]
  answer = names.to_h { |name| [name, value(made, name)] }
  from = value(made, :from) || value(made, :from_)
  answer.merge(id: id, from_: from, created: created.is_a?(Time) ? 'datetime' : created.class.name)
rescue StandardError => error
  status = error.respond_to?(:status_code) ? error.status_code : nil
  code = error.respond_to?(:code) ? error.code : nil
  { id: id, exception: error.class.name, status: status, code: code, message: error.message }
end

def form_of(fields)
  fields.to_h { |name, text| [name.gsub(/(?<!^)([A-Z])/, '_\1').downcase.to_sym, text] }
end

puts JSON.generate(id: 'version', version: Twilio::VERSION)
JSON.parse(File.read(ARGV[0])).each do |row|
  puts JSON.generate(told(row['id']) { API.public_send(LISTS[row['resource']]).create(**form_of(row['form'])) })
end
OTHERS.each { |name, call| puts JSON.generate(told(name, &call)) }
unless OLD
  moved = Twilio::REST::Client.new(SID, 'a-test-token', nil, 'ie1')
  moved.edge = 'dublin'
  puts JSON.generate(told('edge') { moved.messages.create(from: '+15005550006', to: '+14105550100', body: 'moved') })
end
