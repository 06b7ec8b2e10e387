{{/*
An init container that makes the data of the cluster's first node from a backup. Every node has it, each time that it starts; it
does nothing on those that join, and nothing where there is data.
*/}}
{{- define "conclave.pod.restore" -}}
{{- $values := .Values -}}
{{- with .Values.restore }}
- name: restore
  image: {{ include "conclave.image" $ }}
  imagePullPolicy: {{ $values.image.pullPolicy }}
  args:
    - restore
    - {{ .source | quote }}
    - {{ .backup | quote }}
    - --if-empty
    - --identity
    - /etc/conclave/restore/identity
    {{- if .existingSecretOldKekKey }}
    - --old-kek-file
    - /etc/conclave/restore/old-kek
    {{- end }}
    {{- if $values.gateway.enabled }}
    - --kek-config
    - /etc/conclave/gateway/conclave.toml
    {{- end }}
    {{- with .manifestSha256 }}
    - --manifest-sha256
    - {{ . | quote }}
    {{- end }}
    {{- if eq .keep "refreshTokens" }}
    - --keep-refresh-tokens
    {{- else if eq .keep "tokens" }}
    - --keep-tokens
    {{- end }}
  env:
    - name: POD_NAME
      valueFrom:
        fieldRef:
          fieldPath: metadata.name
    - name: CONCLAVE_CONFIG
      value: /etc/conclave/config/$(POD_NAME).toml
    {{- with .extraEnvVars }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .environmentSecret }}
  envFrom:
    - secretRef:
        name: {{ . }}
  {{- end }}
  {{- with $values.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.containerSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  volumeMounts:
    - name: data
      mountPath: /data
    - name: config
      mountPath: /etc/conclave/config
      readOnly: true
    - name: restore
      mountPath: /etc/conclave/restore
      readOnly: true
    {{- if $values.gateway.enabled }}
    - name: gateway-config
      mountPath: /etc/conclave/gateway
      readOnly: true
    {{- end }}
    - name: kek
      mountPath: /etc/conclave/kek
      readOnly: true
    {{- with $values.extraVolumeMounts }}
    {{- tpl (toYaml .) $ | nindent 4 }}
    {{- end }}
{{- end }}
{{- end -}}

{{- define "conclave.pod.restoreVolumes" -}}
- name: restore
  secret:
    secretName: {{ .Values.restore.existingSecret }}
    defaultMode: 0440
    items:
      - key: {{ .Values.restore.existingSecretIdentityKey }}
        path: identity
      {{- with .Values.restore.existingSecretOldKekKey }}
      - key: {{ . }}
        path: old-kek
      {{- end }}
{{- if .Values.gateway.enabled }}
- name: gateway-config
  configMap:
    name: {{ include "conclave.gatewayConfigmap" . }}
{{ include "conclave.pod.kekVolume" . }}
{{- end }}
{{- end -}}

{{- define "conclave.validate.restore" -}}
{{- with .Values.restore -}}
{{- if .source -}}
{{- if ne (int $.Values.initialNodes) 1 -}}
{{- fail "restore: initialNodes must be 1: the first node has the restored state, and the others join it" -}}
{{- end -}}
{{- if not $.Values.persistence.enabled -}}
{{- fail "restore: persistence.enabled is needed: what is restored would go with the pod" -}}
{{- end -}}
{{- $_ := required "restore.existingSecret is needed: the secret with the identity that the backup was made for" .existingSecret -}}
{{- end -}}
{{- end -}}
{{- end -}}
