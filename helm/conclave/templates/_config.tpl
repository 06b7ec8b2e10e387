{{/* Tables that every process has: its ports, from (list $ serves-the-API internal). */}}
{{- define "conclave.config.listen" -}}
{{- $host := (first .).Values.listenHost -}}
[listen]
{{- if index . 1 }}
public = "{{ $host }}:9229"
{{- end }}
{{- if index . 2 }}
internal = "{{ $host }}:9230"
{{- end }}
management = "{{ $host }}:9000"

[internal_tls]
ca = "/etc/conclave/pki/ca.crt"
certificate = "/etc/conclave/pki/tls.crt"
key = "/etc/conclave/pki/tls.key"
{{- with (first .).Values.audit.output }}

[audit]
output = {{ . | toJson }}
{{- end }}
{{- end -}}

{{/* A table of numbers, from (list name values). */}}
{{- define "conclave.config.numbers" -}}
{{- if last . -}}
[{{ first . }}]
{{- range $name, $value := last . }}
{{ snakecase $name }} = {{ int64 $value }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* Tables of a process that serves the API. */}}
{{- define "conclave.config.serving" -}}
[kek]
{{- if .Values.kek.directory }}
directory = "/etc/conclave/kek"
{{- else }}
{{- if not .Values.kek.vault }}
file = "/etc/conclave/kek/{{ .Values.kek.existingSecretKey }}"
{{- end }}
{{- with .Values.kek.previousSecretKeys }}
previous_files = [
{{- range . }}
    "/etc/conclave/kek/{{ . }}",
{{- end }}
]
{{- end }}
{{- with .Values.kek.vault }}

[kek.vault]
address = {{ .address | toRawJson }}
key = {{ .key | toJson }}
{{- with .mount }}
mount = {{ . | toJson }}
{{- end }}
{{- with .namespace }}
namespace = {{ . | toJson }}
{{- end }}
token_file = "/etc/conclave/kek/{{ $.Values.kek.existingSecretKey }}"
{{- with .existingSecretCaKey }}
ca = "/etc/conclave/kek/{{ . }}"
{{- end }}
{{- end }}
{{- end }}
{{- if include "conclave.publicTlsSecret" . }}

[public_tls]
certificate = "/etc/conclave/public-tls/tls.crt"
key = "/etc/conclave/public-tls/tls.key"
{{- end }}
{{- with .Values.email }}
{{- if .host }}

[email]
host = {{ .host | toJson }}
{{- with .port }}
port = {{ int . }}
{{- end }}
security = {{ .security | toJson }}
{{- with .username }}
username = {{ . | toJson }}
password_file = "/etc/conclave/email/password"
{{- end }}
{{- if .existingSecretCaKey }}
ca = "/etc/conclave/email/ca.crt"
{{- end }}
from = {{ .from | toRawJson }}
{{- with .replyTo }}
reply_to = {{ . | toRawJson }}
{{- end }}
{{- with .senderDomains }}
sender_domains = {{ toJson . }}
{{- end }}
timeout_seconds = {{ int .timeoutSeconds }}
connections = {{ int .connections }}
{{- end }}
{{- end }}
{{- with .Values.sms }}
{{- if .gateway }}

[sms]
gateway = {{ .gateway | toJson }}
url = {{ .url | toRawJson }}
{{- with .account }}
account = {{ . | toJson }}
{{- end }}
{{- with .from }}
from = {{ . | toJson }}
{{- end }}
{{- with .region }}
region = {{ . | toJson }}
{{- end }}
{{- if .existingSecret }}
token_file = "/etc/conclave/sms/token"
{{- end }}
timeout_seconds = {{ int .timeoutSeconds }}
connections = {{ int .connections }}
{{- end }}
{{- end }}
{{- with include "conclave.config.triggers" . }}

{{ . }}
{{- end }}
{{- with include "conclave.config.numbers" (list "limits" .Values.limits) }}

{{ . }}
{{- end }}
{{- with include "conclave.config.numbers" (list "signing_keys" .Values.signingKeys) }}

{{ . }}
{{- end }}
{{- end -}}

{{/* Where pools' functions are, if anywhere. */}}
{{- define "conclave.config.triggers" -}}
{{- if include "conclave.triggers" . -}}
{{- $directory := "/etc/conclave/triggers" -}}
{{- with .Values.triggers -}}
[triggers]
timeout_seconds = {{ int .timeoutSeconds }}
tries = {{ int .tries }}
concurrency = {{ int .concurrency }}
{{- with .allowNetworks }}
allow_networks = {{ toJson . }}
{{- end }}
{{- if .allowPlainHttp }}
allow_plain_http = true
{{- end }}
{{- with .existingSecretCaKey }}
ca = "{{ $directory }}/{{ . }}"
{{- end }}
{{- range $name, $of := dict "lambda" .lambda "kms" .kms }}
{{- with $of }}

[triggers.{{ $name }}]
endpoint = {{ .endpoint | toRawJson }}
region = {{ .region | toJson }}
access_key_id = {{ .accessKeyId | toJson }}
secret_access_key_file = "{{ $directory }}/{{ .existingSecretKey }}"
{{- with .functions }}
functions = {{ toRawJson . }}
{{- end }}
{{- with .keys }}
keys = {{ toRawJson . }}
{{- end }}
{{- end }}
{{- end }}
{{- range .webhooks }}

[[triggers.webhooks]]
arn = {{ .arn | toRawJson }}
url = {{ .url | toRawJson }}
secret_file = "{{ $directory }}/{{ .existingSecretKey }}"
{{- end }}
{{- range .keys }}

[[triggers.keys]]
arn = {{ .arn | toRawJson }}
key_file = "{{ $directory }}/{{ .existingSecretKey }}"
{{- end }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* Not empty where functions or their keys are anywhere. */}}
{{- define "conclave.triggers" -}}
{{- with .Values.triggers -}}
{{- if or .lambda .webhooks .kms .keys -}}
true
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What all nodes have alike. The pods are restarted when it changes, and not when nodes are added. */}}
{{- define "conclave.config.nodes" -}}
{{- $serves := not .Values.gateway.enabled -}}
{{- include "conclave.config.listen" (list . $serves true) }}
{{- if $serves }}

{{ include "conclave.config.serving" . }}
{{- end }}
{{- with include "conclave.config.numbers" (list "memory" .Values.memory) }}

{{ . }}
{{- end }}
{{- with include "conclave.config.numbers" (list "snapshots" .Values.snapshots) }}

{{ . }}
{{- end }}
{{- with include "conclave.config.backup" . }}

{{ . }}
{{- end }}
{{- end -}}

{{/* Whom backups are for. */}}
{{- define "conclave.config.backup" -}}
{{- with .Values.backup.recipients -}}
[backup]
recipients = {{ toJson . }}
{{- end -}}
{{- end -}}

{{/* The first lines of it, which belong to no table. */}}
{{- define "conclave.config.cluster" -}}
cluster_id = {{ .Values.clusterId | toJson }}
{{- if .Values.gateway.enabled }}
roles = ["shard"]
{{- else }}
public_url = {{ .Values.publicUrl | toRawJson }}
{{- end }}
data_dir = "/data"
pool_groups = {{ int .Values.poolGroups }}
replication_factor = {{ int .Values.replicationFactor }}
dead_after_seconds = {{ int .Values.deadAfterSeconds }}
{{- end -}}

{{/*
The configuration of a node, from (list $ ordinal). The first nodes name each other as members, whatever has become of them;
a node that is added, or has another number, joins. The lists do not depend on how many nodes there are now.
*/}}
{{- define "conclave.config.node" -}}
{{- $root := first . -}}
{{- $values := $root.Values -}}
{{- $ordinal := int (last .) -}}
{{- $initial := int $values.initialNodes -}}
{{- include "conclave.config.cluster" $root }}
node_id = {{ include "conclave.nodeNumber" . }}
{{- if and $values.bootstrap (lt $ordinal $initial) (not (hasKey $values.nodeNumbers (toString $ordinal))) }}
members = [
{{- range $member := until $initial }}
    { node_id = {{ add1 $member }}, address = "{{ include "conclave.podHost" (list $root $member) }}:9230" },
{{- end }}
]
{{- else }}
address = "{{ include "conclave.nodeHost" . }}:9230"
join = {{ include "conclave.addresses" (list $root (max $initial 3) $ordinal) }}
{{- end }}

{{ include "conclave.config.nodes" $root }}
{{- end -}}

{{/*
The configuration of each node, in a file of its pod's name: the image has no shell that could write a pod's number into one
file for all.
*/}}
{{- define "conclave.config" -}}
{{- range $ordinal := until (int .Values.replicaCount) }}
{{ include "conclave.podName" (list $ $ordinal) }}.toml: |
  {{- include "conclave.config.node" (list $ $ordinal) | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The configuration of all gateways. */}}
{{- define "conclave.config.gateway" -}}
cluster_id = {{ .Values.clusterId | toJson }}
roles = ["gateway"]
public_url = {{ .Values.publicUrl | toRawJson }}
pool_groups = {{ int .Values.poolGroups }}
join = {{ include "conclave.addresses" (list . .Values.replicaCount -1) }}

{{ include "conclave.config.listen" (list . true false) }}

{{ include "conclave.config.serving" . }}
{{- end -}}
