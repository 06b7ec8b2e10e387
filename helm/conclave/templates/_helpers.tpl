{{/* The chart's name. */}}
{{- define "conclave.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of everything. 52 characters: a stateful set's pods carry it, a number and a hash in a label. */}}
{{- define "conclave.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "conclave.headless" -}}
{{- printf "%s-headless" (include "conclave.fullname" .) -}}
{{- end -}}

{{- define "conclave.configmap" -}}
{{- default (include "conclave.fullname" .) .Values.existingConfigmap -}}
{{- end -}}

{{- define "conclave.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "conclave.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What a pod is found by; it never changes. */}}
{{- define "conclave.selectorLabels" -}}
app.kubernetes.io/name: {{ include "conclave.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: node
{{- end -}}

{{- define "conclave.labels" -}}
{{ include "conclave.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* `labels:` and, if there are any, `annotations:` of a resource, with its own from (list $ labels annotations). */}}
{{- define "conclave.metadata" -}}
{{- $root := first . -}}
labels:
  {{- include "conclave.labels" $root | nindent 2 }}
  {{- with index . 1 }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (index . 2) $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "conclave.image" -}}
{{- $registry := default .Values.image.registry .Values.global.imageRegistry -}}
{{- if $registry }}{{ $registry }}/{{ end -}}
{{- .Values.image.repository -}}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ default .Chart.AppVersion .Values.image.tag }}{{ end -}}
{{- end -}}

{{/* The name of a node's pod, from (list $ ordinal). */}}
{{- define "conclave.podName" -}}
{{- printf "%s-%d" (include "conclave.fullname" (first .)) (int (last .)) -}}
{{- end -}}

{{/*
The name under which the other nodes reach a node, from (list $ ordinal). It is the whole name: with five dots a resolver
asks for it first, not for it below each search domain.
*/}}
{{- define "conclave.podHost" -}}
{{- $root := first . -}}
{{- printf "%s.%s.%s.svc.%s" (include "conclave.podName" .) (include "conclave.headless" $root) $root.Release.Namespace $root.Values.clusterDomain -}}
{{- end -}}

{{/* The secret with the certificate that cert-manager makes for a node, from (list $ ordinal). */}}
{{- define "conclave.podTlsSecret" -}}
{{- printf "%s-internal-tls" (include "conclave.podName" .) -}}
{{- end -}}

{{/* The chart's own authority, where no issuer is named. */}}
{{- define "conclave.authority" -}}
{{- printf "%s-internal-ca" (include "conclave.fullname" .) -}}
{{- end -}}

{{/*
The configuration of each pod, in a file of the pod's name: the image has no shell that could write a pod's number into one
file for all.
*/}}
{{- define "conclave.config" -}}
{{- $root := . -}}
{{- $nodes := until (int .Values.replicaCount) -}}
{{- range $ordinal := $nodes }}
{{ include "conclave.podName" (list $root $ordinal) }}.toml: |
  cluster_id = {{ $root.Values.clusterId | toJson }}
  node_id = {{ add1 $ordinal }}
  data_dir = "/data"
  public_url = {{ $root.Values.publicUrl | toJson }}
  pool_groups = {{ int $root.Values.poolGroups }}
  members = [
  {{- range $member := $nodes }}
      { node_id = {{ add1 $member }}, address = "{{ include "conclave.podHost" (list $root $member) }}:9230" },
  {{- end }}
  ]

  [listen]
  public = "{{ $root.Values.listenHost }}:9229"
  internal = "{{ $root.Values.listenHost }}:9230"
  management = "{{ $root.Values.listenHost }}:9000"

  [kek]
  file = "/etc/conclave/kek/{{ $root.Values.kek.existingSecretKey }}"
  {{- with $root.Values.kek.previousSecretKeys }}
  previous_files = [
  {{- range . }}
      "/etc/conclave/kek/{{ . }}",
  {{- end }}
  ]
  {{- end }}

  [internal_tls]
  ca = "/etc/conclave/pki/ca.crt"
  certificate = "/etc/conclave/pki/tls.crt"
  key = "/etc/conclave/pki/tls.key"
{{- end }}
{{- end -}}

{{/* An HTTP probe, from (list enabled-probe custom-probe path). */}}
{{- define "conclave.probe" -}}
{{- $probe := index . 0 -}}
{{- $custom := index . 1 -}}
{{- if $custom -}}
{{- toYaml $custom -}}
{{- else if $probe.enabled -}}
httpGet:
  path: {{ index . 2 }}
  port: management
{{ toYaml (omit $probe "enabled") }}
{{- end -}}
{{- end -}}

{{/* Refuses what would make no cluster. */}}
{{- define "conclave.validate" -}}
{{- $values := .Values -}}
{{- $_ := required "clusterId is needed: the name of the cluster, on no other cluster" $values.clusterId -}}
{{- $_ := required "publicUrl is needed: the URL under which clients reach the cluster, the first part of `iss`" $values.publicUrl -}}
{{- $_ := required "kek.existingSecret is needed: the secret that holds the key-encryption key" $values.kek.existingSecret -}}
{{- if and $values.internalTls.existingSecret $values.internalTls.certManager.enabled -}}
{{- fail "internalTls takes one of existingSecret and certManager.enabled" -}}
{{- end -}}
{{- if not (or $values.internalTls.existingSecret $values.internalTls.certManager.enabled) -}}
{{- fail "internalTls.existingSecret or internalTls.certManager.enabled is needed: nodes talk to each other with certificates only" -}}
{{- end -}}
{{- if and $values.ingress.enabled (not $values.ingress.hostname) -}}
{{- fail "ingress.hostname is needed" -}}
{{- end -}}
{{- if and $values.pdb.create $values.pdb.minAvailable $values.pdb.maxUnavailable -}}
{{- fail "pdb takes one of minAvailable and maxUnavailable; set the other to \"\"" -}}
{{- end -}}
{{/* Members cannot be added or taken away yet; Helm sees the running set only when it talks to the Kubernetes API. */}}
{{- with lookup "apps/v1" "StatefulSet" .Release.Namespace (include "conclave.fullname" .) -}}
{{- $made := dig "metadata" "annotations" "conclave-nodes" "" . -}}
{{- if and $made (ne $made (toString $values.replicaCount)) -}}
{{- fail (printf "the cluster was made with %s nodes, and nodes cannot be added or taken away yet: replicaCount stays %s" $made $made) -}}
{{- end -}}
{{- end -}}
{{- end -}}
