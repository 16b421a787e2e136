/** Pages as `nvidia-smi -q -x` prints them, made up: no device of these exists. */
export interface PageParts {
  readonly schema?: 10 | 11 | 12 | 13;
  readonly gpus?: readonly string[];
}

export function aPage({ schema = 12, gpus = [aGpu()] }: PageParts = {}): string {
  return `<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v${schema}.dtd">
<nvidia_smi_log>
\t<timestamp>Mon Jan  5 07:08:09 2026</timestamp>
\t<driver_version>571.20</driver_version>
\t<cuda_version>12.9</cuda_version>
\t<attached_gpus>${gpus.length}</attached_gpus>
${gpus.join('\n')}
</nvidia_smi_log>
`;
}

export interface GpuParts {
  readonly number?: number;
  readonly model?: string;
  readonly memory?: string;
  readonly architecture?: string;
  /** Elements instead of, or besides, the usual ones. */
  readonly more?: string;
  readonly slices?: readonly string[];
}

/** A healthy GPU as schema 12 tells of it. The elements of `more` come first, so that they are the ones that count. */
export function aGpu(parts: GpuParts = {}): string {
  const { number = 0, model = 'NVIDIA Test 40GB', memory = '40960 MiB', architecture = 'Ampere', more = '' } = parts;
  return `\t<gpu id="00000000:0${number + 1}:00.0">
${more}
\t\t<product_name>${model}</product_name>
\t\t<product_architecture>${architecture}</product_architecture>
\t\t<mig_mode><current_mig>${parts.slices ? 'Enabled' : 'Disabled'}</current_mig><pending_mig>N/A</pending_mig></mig_mode>
\t\t<mig_devices>${parts.slices?.join('\n') ?? '\n\t\t\tNone\n'}</mig_devices>
\t\t<uuid>${uuidOf(number)}</uuid>
\t\t<minor_number>${number}</minor_number>
\t\t<gpu_reset_status><reset_required>No</reset_required></gpu_reset_status>
\t\t<fb_memory_usage><total>${memory}</total><reserved>500 MiB</reserved><used>1000 MiB</used></fb_memory_usage>
\t\t<compute_mode>Default</compute_mode>
\t\t<utilization><gpu_util>35 %</gpu_util><memory_util>9 %</memory_util></utilization>
\t\t<ecc_errors>
\t\t\t<volatile><sram_uncorrectable>0</sram_uncorrectable><dram_uncorrectable>0</dram_uncorrectable></volatile>
\t\t\t<aggregate><sram_uncorrectable>1</sram_uncorrectable><dram_uncorrectable>2</dram_uncorrectable></aggregate>
\t\t</ecc_errors>
\t\t<retired_pages><pending_retirement>No</pending_retirement></retired_pages>
\t\t<remapped_rows>
\t\t\t<remapped_row_unc>1</remapped_row_unc><remapped_row_pending>No</remapped_row_pending>
\t\t\t<remapped_row_failure>No</remapped_row_failure>
\t\t</remapped_rows>
\t\t<temperature><gpu_temp>41 C</gpu_temp></temperature>
\t\t<gpu_power_readings><power_draw>123.45 W</power_draw></gpu_power_readings>
\t\t<supported_clocks>${'<supported_mem_clock><value>1 MHz</value></supported_mem_clock>'.repeat(50)}</supported_clocks>
\t\t<processes>
\t\t\t<process_info>
\t\t\t\t<pid>${4_000 + number}</pid><type>C</type><process_name>python &amp; co</process_name>
\t\t\t\t<used_memory>900 MiB</used_memory>
\t\t\t</process_info>
\t\t</processes>
\t</gpu>`;
}

export interface SliceParts {
  readonly position: number;
  readonly instance: number;
  readonly compute?: number;
  readonly multiprocessors?: number;
  readonly memory?: string;
  readonly errors?: number;
}

export function aSlice(parts: SliceParts): string {
  const { position, instance, compute = 0, multiprocessors = 14, memory = '4864 MiB', errors = 0 } = parts;
  return `<mig_device>
<index>${position}</index>
<gpu_instance_id>${instance}</gpu_instance_id>
<compute_instance_id>${compute}</compute_instance_id>
<device_attributes><shared><multiprocessor_count>${multiprocessors}</multiprocessor_count></shared></device_attributes>
<ecc_error_count><volatile_count><sram_uncorrectable>${errors}</sram_uncorrectable></volatile_count></ecc_error_count>
<fb_memory_usage><total>${memory}</total><used>13 MiB</used></fb_memory_usage>
</mig_device>`;
}

export function uuidOf(number: number): string {
  return `GPU-00000000-1111-2222-3333-${String(number).padStart(12, '0')}`;
}
