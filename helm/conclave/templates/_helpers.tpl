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

{{- define "conclave.gateway" -}}
{{- printf "%s-gateway" (include "conclave.fullname" .) -}}
{{- end -}}

{{/* The component that serves the API. */}}
{{- define "conclave.serving" -}}
{{- ternary "gateway" "node" .Values.gateway.enabled -}}
{{- end -}}

{{- define "conclave.configmap" -}}
{{- default (include "conclave.fullname" .) .Values.existingConfigmap -}}
{{- end -}}

{{- define "conclave.gatewayConfigmap" -}}
{{- default (include "conclave.gateway" .) .Values.gateway.existingConfigmap -}}
{{- end -}}

{{- define "conclave.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "conclave.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What the pods of a component are found by, from (list $ component); it never changes. */}}
{{- define "conclave.selectorLabels" -}}
{{- $root := first . -}}
app.kubernetes.io/name: {{ include "conclave.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end -}}

{{/* From (list $ component). */}}
{{- define "conclave.labels" -}}
{{- $root := first . -}}
{{ include "conclave.selectorLabels" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* `labels:` and, if there are any, `annotations:` of a resource, with its own from (list $ component labels annotations). */}}
{{- define "conclave.metadata" -}}
{{- $root := first . -}}
labels:
  {{- include "conclave.labels" (list $root (index . 1)) | nindent 2 }}
  {{- with index . 2 }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (index . 3) $root.Values.commonAnnotations }}
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

{{- define "conclave.imagePullSecrets" -}}
{{- with concat .Values.global.imagePullSecrets .Values.image.pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end -}}
{{- end -}}

{{/* The host of publicUrl. */}}
{{- define "conclave.publicHost" -}}
{{- (urlParse .Values.publicUrl).hostname -}}
{{- end -}}

{{/* The name of a node's pod, from (list $ ordinal). */}}
{{- define "conclave.podName" -}}
{{- printf "%s-%d" (include "conclave.fullname" (first .)) (int (last .)) -}}
{{- end -}}

{{/*
The name of a pod, under which the other nodes reach it, from (list $ ordinal). It is the whole name: with five dots a resolver
asks for it first, not for it below each search domain.
*/}}
{{- define "conclave.podHost" -}}
{{- $root := first . -}}
{{- printf "%s.%s.%s.svc.%s" (include "conclave.podName" .) (include "conclave.headless" $root) $root.Release.Namespace $root.Values.clusterDomain -}}
{{- end -}}

{{/*
Where a node is reached, from (list $ ordinal). One with a number of its own has a service of its own: the name of its pod is
that of the node that was there before, as long as the cluster knows that one.
*/}}
{{- define "conclave.nodeHost" -}}
{{- $root := first . -}}
{{- if hasKey $root.Values.nodeNumbers (toString (last .)) -}}
{{- printf "%s.%s.svc.%s" (include "conclave.nodeService" .) $root.Release.Namespace $root.Values.clusterDomain -}}
{{- else -}}
{{- include "conclave.podHost" . -}}
{{- end -}}
{{- end -}}

{{/* The name of such a service, from (list $ ordinal). */}}
{{- define "conclave.nodeService" -}}
{{- printf "%s-node-%s" (include "conclave.fullname" (first .)) (include "conclave.nodeNumber" .) -}}
{{- end -}}

{{/* A node's number, from (list $ ordinal). */}}
{{- define "conclave.nodeNumber" -}}
{{- $given := (first .).Values.nodeNumbers -}}
{{- $ordinal := int (last .) -}}
{{- if hasKey $given (toString $ordinal) -}}
{{- int (get $given (toString $ordinal)) -}}
{{- else -}}
{{- add1 $ordinal -}}
{{- end -}}
{{- end -}}

{{/* `host:port` of internal ports, as JSON, from (list $ until without): of the pods below an ordinal, without one of them. */}}
{{- define "conclave.addresses" -}}
{{- $root := first . -}}
{{- $without := int (last .) -}}
{{- $addresses := list -}}
{{- range $ordinal := until (int (index . 1)) -}}
{{- if ne $ordinal $without -}}
{{- $addresses = append $addresses (printf "%s:9230" (include "conclave.nodeHost" (list $root $ordinal))) -}}
{{- end -}}
{{- end -}}
{{- toJson $addresses -}}
{{- end -}}

{{/* For how many nodes there are certificates. */}}
{{- define "conclave.certificates" -}}
{{- max (int .Values.replicaCount) (int .Values.internalTls.certManager.nodes) -}}
{{- end -}}

{{/* The secret with the certificate that cert-manager makes for a node, from (list $ ordinal). */}}
{{- define "conclave.podTlsSecret" -}}
{{- printf "%s-internal-tls" (include "conclave.podName" .) -}}
{{- end -}}

{{/* Secrets with ca.crt, tls.crt and tls.key. */}}
{{- define "conclave.gatewayTlsSecret" -}}
{{- if .Values.internalTls.certManager.enabled -}}
{{- printf "%s-internal-tls" (include "conclave.gateway" .) -}}
{{- else -}}
{{- .Values.internalTls.existingGatewaySecret -}}
{{- end -}}
{{- end -}}

{{- define "conclave.adminTlsSecret" -}}
{{- if .Values.internalTls.certManager.enabled -}}
{{- printf "%s-admin-tls" (include "conclave.fullname" .) -}}
{{- else -}}
{{- .Values.internalTls.existingAdminSecret -}}
{{- end -}}
{{- end -}}

{{/* The secret with the certificate of the public port, where there is one. */}}
{{- define "conclave.publicTlsSecret" -}}
{{- if .Values.publicTls.certManager.enabled -}}
{{- printf "%s-public-tls" (include "conclave.fullname" .) -}}
{{- else -}}
{{- .Values.publicTls.existingSecret -}}
{{- end -}}
{{- end -}}

{{/* The chart's own authority, where no issuer is named. */}}
{{- define "conclave.authority" -}}
{{- printf "%s-internal-ca" (include "conclave.fullname" .) -}}
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
