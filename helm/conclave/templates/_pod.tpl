{{/*
The template of a pod, from (dict "root" $ "component" "node" or "gateway"). Both are alike but for what they mount, and for what
`gateway` says of its own pods.
*/}}
{{- define "conclave.pod" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- $gateway := eq .component "gateway" -}}
{{- $own := ternary $values.gateway $values $gateway -}}
{{- $serves := eq .component (include "conclave.serving" $root) -}}
{{- $selector := include "conclave.selectorLabels" (list $root .component) -}}
metadata:
  {{- /* Without the versions of the chart and of itself: a pod is not restarted for a label. */}}
  labels:
    {{- $selector | nindent 4 }}
    {{- with merge (dict) $own.podLabels $values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- $annotations := merge (dict) $own.podAnnotations $values.commonAnnotations }}
  {{- if not $own.existingConfigmap }}
  {{- $config := include (ternary "conclave.config.gateway" "conclave.config.nodes" $gateway) $root }}
  {{- if not $gateway }}
  {{- $config = printf "%s%s%t%d" $config (include "conclave.config.cluster" $root) $values.bootstrap (int $values.initialNodes) }}
  {{- end }}
  {{- $_ := set $annotations "checksum/config" (sha256sum $config) }}
  {{- end }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "conclave.serviceAccountName" $root }}
  automountServiceAccountToken: {{ $values.serviceAccount.automountServiceAccountToken }}
  # A service named conclave would be in the environment as CONCLAVE_…, where settings are.
  enableServiceLinks: false
  {{- with include "conclave.imagePullSecrets" $root }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with $values.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if $own.affinity }}
  affinity:
    {{- tpl (toYaml $own.affinity) $root | nindent 4 }}
  {{- else if $own.podAntiAffinityPreset }}
  affinity:
    podAntiAffinity:
      {{- if eq $own.podAntiAffinityPreset "hard" }}
      requiredDuringSchedulingIgnoredDuringExecution:
        - topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- $selector | nindent 14 }}
      {{- else }}
      preferredDuringSchedulingIgnoredDuringExecution:
        - weight: 100
          podAffinityTerm:
            topologyKey: kubernetes.io/hostname
            labelSelector:
              matchLabels:
                {{- $selector | nindent 16 }}
      {{- end }}
  {{- end }}
  {{- with $own.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- range . }}
    - {{- toYaml . | nindent 6 }}
      {{- if not .labelSelector }}
      labelSelector:
        matchLabels:
          {{- $selector | nindent 10 }}
      {{- end }}
    {{- end }}
  {{- end }}
  {{- with $own.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $values.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with $values.schedulerName }}
  schedulerName: {{ . }}
  {{- end }}
  terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
  {{- $restores := and (not $gateway) $values.restore.source }}
  {{- if or $restores $values.initContainers }}
  initContainers:
    {{- if $restores }}
    {{- include "conclave.pod.restore" $root | nindent 4 }}
    {{- end }}
    {{- with $values.initContainers }}
    {{- tpl (toYaml .) $root | nindent 4 }}
    {{- end }}
  {{- end }}
  containers:
    - name: conclave
      image: {{ include "conclave.image" $root }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: [serve]
      env:
        - name: POD_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        # Commands that are run in the container, such as `conclave account create`, find it too.
        - name: CONCLAVE_CONFIG
          value: /etc/conclave/config/{{ ternary "conclave" "$(POD_NAME)" $gateway }}.toml
        - name: CONCLAVE_LOG_FORMAT
          value: {{ $values.log.format }}
        {{- with $values.log.level }}
        - name: CONCLAVE_LOG
          value: {{ . | quote }}
        {{- end }}
        {{- with $values.tracing.otlpEndpoint }}
        - name: OTEL_EXPORTER_OTLP_ENDPOINT
          value: {{ . | quote }}
        {{- end }}
        {{- with $values.extraEnvVars }}
        {{- tpl (toYaml .) $root | nindent 8 }}
        {{- end }}
      {{- if or $values.extraEnvVarsCM $values.extraEnvVarsSecret }}
      envFrom:
        {{- with $values.extraEnvVarsCM }}
        - configMapRef:
            name: {{ . }}
        {{- end }}
        {{- with $values.extraEnvVarsSecret }}
        - secretRef:
            name: {{ . }}
        {{- end }}
      {{- end }}
      ports:
        {{- if $serves }}
        - name: http
          containerPort: 9229
        {{- end }}
        {{- if not $gateway }}
        - name: internal
          containerPort: 9230
        {{- end }}
        - name: management
          containerPort: 9000
      {{- with include "conclave.probe" (list $values.startupProbe $values.customStartupProbe "/livez") }}
      startupProbe:
        {{- . | nindent 8 }}
      {{- end }}
      {{- with include "conclave.probe" (list $values.livenessProbe $values.customLivenessProbe "/livez") }}
      livenessProbe:
        {{- . | nindent 8 }}
      {{- end }}
      {{- with include "conclave.probe" (list $values.readinessProbe $values.customReadinessProbe "/readyz") }}
      readinessProbe:
        {{- . | nindent 8 }}
      {{- end }}
      {{- if and (gt (int $values.preStopSleepSeconds) 0) (semverCompare ">=1.30-0" $root.Capabilities.KubeVersion.Version) }}
      lifecycle:
        preStop:
          sleep:
            seconds: {{ $values.preStopSleepSeconds }}
      {{- end }}
      {{- with $own.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.containerSecurityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        {{- if not $gateway }}
        - name: data
          mountPath: /data
        {{- end }}
        - name: config
          mountPath: /etc/conclave/config
          readOnly: true
        {{- if $gateway }}
        - name: pki
          mountPath: /etc/conclave/pki
          readOnly: true
        {{- else }}
        {{- include "conclave.pod.nodePki" $root | nindent 8 }}
        {{- end }}
        {{- if $serves }}
        {{- include "conclave.pod.servingMounts" $root | nindent 8 }}
        {{- end }}
        {{- with $values.extraVolumeMounts }}
        {{- tpl (toYaml .) $root | nindent 8 }}
        {{- end }}
    {{- with $values.sidecars }}
    {{- tpl (toYaml .) $root | nindent 4 }}
    {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include (ternary "conclave.gatewayConfigmap" "conclave.configmap" $gateway) $root }}
    {{- if $gateway }}
    - name: pki
      secret:
        secretName: {{ include "conclave.gatewayTlsSecret" $root }}
        defaultMode: 0440
    {{- else }}
    {{- include "conclave.pod.nodePkiVolume" $root | nindent 4 }}
    {{- end }}
    {{- if $serves }}
    {{- include "conclave.pod.servingVolumes" $root | nindent 4 }}
    {{- end }}
    {{- if $restores }}
    {{- include "conclave.pod.restoreVolumes" $root | nindent 4 }}
    {{- end }}
    {{- if not (or $gateway $values.persistence.enabled) }}
    - name: data
      emptyDir: {}
    {{- end }}
    {{- with $values.extraVolumes }}
    {{- tpl (toYaml .) $root | nindent 4 }}
    {{- end }}
{{- end -}}

{{/*
Of all nodes' certificates a node sees its own. Each file is mounted by itself: a directory of a volume would be empty once
the secret changes, a file stays what it was until the pod is started again.
*/}}
{{- define "conclave.pod.nodePki" -}}
- name: pki
  mountPath: /etc/conclave/pki/ca.crt
  {{- if .Values.internalTls.certManager.enabled }}
  subPathExpr: $(POD_NAME)-ca.pem
  {{- else }}
  subPath: ca.pem
  {{- end }}
  readOnly: true
- name: pki
  mountPath: /etc/conclave/pki/tls.crt
  subPathExpr: $(POD_NAME).pem
  readOnly: true
- name: pki
  mountPath: /etc/conclave/pki/tls.key
  subPathExpr: $(POD_NAME)-key.pem
  readOnly: true
{{- end -}}

{{- define "conclave.pod.nodePkiVolume" -}}
- name: pki
  {{- if .Values.internalTls.certManager.enabled }}
  projected:
    defaultMode: 0440
    sources:
      {{- range $ordinal := until (int (include "conclave.certificates" .)) }}
      {{- $pod := include "conclave.podName" (list $ $ordinal) }}
      - secret:
          name: {{ include "conclave.podTlsSecret" (list $ $ordinal) }}
          items:
            - key: ca.crt
              path: {{ $pod }}-ca.pem
            - key: tls.crt
              path: {{ $pod }}.pem
            - key: tls.key
              path: {{ $pod }}-key.pem
      {{- end }}
  {{- else }}
  secret:
    secretName: {{ .Values.internalTls.existingSecret }}
    defaultMode: 0440
  {{- end }}
{{- end -}}

{{/* What only a pod that serves the API sees. */}}
{{- define "conclave.pod.servingMounts" -}}
- name: kek
  mountPath: /etc/conclave/kek
  readOnly: true
{{- if include "conclave.publicTlsSecret" . }}
- name: public-tls
  mountPath: /etc/conclave/public-tls
  readOnly: true
{{- end }}
{{- if include "conclave.pod.emailItems" . }}
- name: email
  mountPath: /etc/conclave/email
  readOnly: true
{{- end }}
{{- if and .Values.sms.gateway .Values.sms.existingSecret }}
- name: sms
  mountPath: /etc/conclave/sms
  readOnly: true
{{- end }}
{{- if include "conclave.triggers" . }}
- name: triggers
  mountPath: /etc/conclave/triggers
  readOnly: true
{{- end }}
{{- end -}}

{{/* The keys of the secret that functions need, each once. */}}
{{- define "conclave.pod.triggerItems" -}}
{{- $keys := list -}}
{{- with .Values.triggers -}}
{{- range concat (list .lambda .kms) .webhooks .keys -}}
{{- $keys = append $keys (.existingSecretKey | default "") -}}
{{- end -}}
{{- $keys = append $keys .existingSecretCaKey -}}
{{- end -}}
{{- range $keys | compact | uniq }}
- key: {{ . }}
  path: {{ . }}
{{- end }}
{{- end -}}

{{- define "conclave.pod.emailItems" -}}
{{- with .Values.email }}
{{- if .host }}
{{- if .username }}
- key: {{ .existingSecretPasswordKey }}
  path: password
{{- end }}
{{- with .existingSecretCaKey }}
- key: {{ . }}
  path: ca.crt
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "conclave.pod.kekVolume" -}}
- name: kek
  secret:
    secretName: {{ .Values.kek.existingSecret }}
    defaultMode: 0440
    {{- if not .Values.kek.directory }}
    items:
      {{- range compact (append (prepend .Values.kek.previousSecretKeys .Values.kek.existingSecretKey) (.Values.kek.vault.existingSecretCaKey | default "")) }}
      - key: {{ . }}
        path: {{ . }}
      {{- end }}
    {{- end }}
{{- end -}}

{{- define "conclave.pod.servingVolumes" -}}
{{- include "conclave.pod.kekVolume" . }}
{{- with include "conclave.publicTlsSecret" . }}
- name: public-tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with include "conclave.pod.emailItems" . }}
- name: email
  secret:
    secretName: {{ $.Values.email.existingSecret }}
    defaultMode: 0440
    items:
      {{- . | trim | nindent 6 }}
{{- end }}
{{- with .Values.sms }}
{{- if and .gateway .existingSecret }}
- name: sms
  secret:
    secretName: {{ .existingSecret }}
    defaultMode: 0440
    items:
      - key: {{ .existingSecretTokenKey }}
        path: token
{{- end }}
{{- end }}
{{- if include "conclave.triggers" . }}
- name: triggers
  secret:
    secretName: {{ .Values.triggers.existingSecret }}
    defaultMode: 0440
    items:
      {{- include "conclave.pod.triggerItems" . | trim | nindent 6 }}
{{- end }}
{{- end -}}
