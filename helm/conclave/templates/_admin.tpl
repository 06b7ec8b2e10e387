{{/*
A pod that runs one command of administration and ends, from (list $ command): with the administrator's certificate and no other
key. A third item says more of its environment: `env` and `envFrom`.
*/}}
{{- define "conclave.admin.pod" -}}
{{- $root := first . -}}
metadata:
  labels:
    {{- include "conclave.selectorLabels" (list $root "admin") | nindent 4 }}
spec:
  {{- include "conclave.admin.podSpec" . | nindent 2 }}
{{- end -}}

{{- define "conclave.admin.podSpec" -}}
{{- $root := first . -}}
{{- $more := gt (len .) 2 | ternary (last .) dict -}}
{{- $values := $root.Values -}}
restartPolicy: Never
serviceAccountName: {{ include "conclave.serviceAccountName" $root }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with include "conclave.imagePullSecrets" $root }}
{{ . }}
{{- end }}
{{- with $values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: conclave
    image: {{ include "conclave.image" $root }}
    imagePullPolicy: {{ $values.image.pullPolicy }}
    args:
      {{- toYaml (index . 1) | nindent 6 }}
    env:
      - name: CONCLAVE_ADDRESS
        value: {{ include "conclave.addresses" (list $root $values.replicaCount -1) | fromJsonArray | join "," | quote }}
      - name: CONCLAVE_CA
        value: /etc/conclave/admin/ca.crt
      - name: CONCLAVE_CERTIFICATE
        value: /etc/conclave/admin/tls.crt
      - name: CONCLAVE_KEY
        value: /etc/conclave/admin/tls.key
      {{- with $more.env }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- with $more.envFrom }}
    envFrom:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with $values.containerSecurityContext }}
    securityContext:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    volumeMounts:
      - name: admin
        mountPath: /etc/conclave/admin
        readOnly: true
volumes:
  - name: admin
    secret:
      secretName: {{ include "conclave.adminTlsSecret" $root }}
      defaultMode: 0440
{{- end -}}
