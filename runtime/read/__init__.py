"""From DAC codes to ADC codes."""
